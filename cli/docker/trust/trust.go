// Package trust is the verbs on whom to believe, in podman's words: image trust
// show and set, image sign, and berth's own image trust key and image verify.
// Row 6.
package trust

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/atomicfile"
	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// maxKey is the most bytes of a key file.
const maxKey = 64 << 10

// podman's words for the actions, and ours.
var kinds = map[string]string{
	"accept": "accept", "insecureAcceptAnything": "accept", "reject": "reject",
	"sigstoreSigned": "signed", "signed": "signed", "pinned": "pinned",
}

// Show is image trust show.
type Show struct{ json, raw, noHeading bool }

func (v *Show) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.json, "json", "j", false, "Output as JSON")
	f.BoolVar(&v.raw, "raw", false, "Output the policy file")
	f.BoolVarP(&v.noHeading, "noheading", "n", false, "Do not print column headings")
}

// row is one line of show.
type row struct{ Transport, Name, Type, ID, Store string }

// document is one element of podman's JSON.
type document struct {
	Transport string `json:"transport"`
	Name      string `json:"name"`
	RepoName  string `json:"repo_name,omitempty"`
	Type      string `json:"type"`
	ID        string `json:"gpg_id,omitempty"`
}

func (v *Show) Run(_ context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	rules, raw, err := engine.TrustRules(e)
	if err != nil {
		return command.FromEngine(err)
	}
	if v.raw {
		if term.Is(c.Out) {
			raw = []byte(term.CleanText(string(raw)))
		}
		_, err := c.Out.Write(raw)
		return err
	}
	var rows []row
	docs := []document{}
	for _, r := range rules {
		if len(words) == 1 && r.Scope != words[0] {
			continue
		}
		one := row{Transport: "repository", Name: term.Clean(r.Scope), Type: r.Action, ID: term.Clean(strings.Join(append(r.Keys, r.Digests...), ", "))}
		if r.Scope == image.TrustDefault {
			one.Transport = "all"
		}
		rows = append(rows, one)
		docs = append(docs, document{Transport: one.Transport, Name: r.Scope, RepoName: r.Scope, Type: r.Action, ID: strings.Join(append(r.Keys, r.Digests...), ", ")})
	}
	if v.json {
		return format.Document(c.Out, docs, "    ")
	}
	form := format.Form{Style: term.PodmanStyle, Table: "{{.Transport}}\t{{.Name}}\t{{.Type}}\t{{.ID}}\t{{.Store}}"}
	if v.noHeading {
		form.Source, form.Table = "{{.Transport}}  {{.Name}}  {{.Type}}  {{.ID}}", ""
	}
	return format.Rows(c.Out, form, row{"TRANSPORT", "NAME", "TYPE", "ID", "STORE"}, rows)
}

// Set is image trust set.
type Set struct {
	kind          string
	keys, digests []string
}

func (v *Set) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.kind, "type", "t", "sigstoreSigned", "Trust type (accept, reject, sigstoreSigned, pinned)")
	f.StringSliceVarP(&v.keys, "pubkeysfile", "f", nil, "Public key that may have signed, a PEM file; may be given several times")
	f.StringSliceVar(&v.digests, "digest", nil, "Digest that is accepted, for the type pinned")
}

// request has no effects but to make paths absolute.
func (v *Set) request(scope string) (image.TrustRule, error) {
	r := image.TrustRule{Scope: scope, Action: kinds[v.kind], Digests: v.digests}
	switch {
	case v.kind == "signedBy":
		return r, fmt.Errorf("type signedBy is not served: signatures are cosign's, made and verified with a PEM key: use sigstoreSigned")
	case r.Action == "":
		return r, fmt.Errorf("invalid choice: %v (choose from 'accept', 'reject', 'sigstoreSigned', 'pinned')", v.kind)
	case r.Action == "signed" && len(v.keys) == 0:
		return r, fmt.Errorf("at least one public key must be defined for type '%s'", v.kind)
	}
	for _, k := range v.keys {
		path, err := filepath.Abs(k)
		if err != nil {
			return r, err
		}
		r.Keys = append(r.Keys, path)
	}
	return r, nil
}

func (v *Set) Run(_ context.Context, c *command.Call, words []string) error {
	r, err := v.request(words[0])
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	return command.FromEngine(engine.SetTrust(e, r))
}

// Key is berth's image trust key: a pair for Sign and Set.
type Key struct{}

func (v *Key) Flags(*pflag.FlagSet) {}

func (v *Key) Run(_ context.Context, c *command.Call, words []string) error {
	e, err := c.Open()
	if err != nil {
		return err
	}
	private, public, err := engine.NewKey(e)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(words[0], ".key")
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{name + ".key", private, 0o600}, {name + ".pub", public, 0o644}} {
		if err := writeNew(f.name, f.data, f.mode); err != nil {
			return err
		}
		fmt.Fprintln(c.Out, term.Clean(f.name))
	}
	return nil
}

// writeNew replaces no file: a key that is lost is lost for good.
func writeNew(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// ReadKey reads a key file with a cap.
func ReadKey(name string) ([]byte, error) { return atomicfile.ReadCapped(name, maxKey) }
