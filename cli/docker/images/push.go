package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/trust"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Push is push.
type Push struct {
	all, quiet, noTrust bool
	platform            string
	access              command.Access
	compression         string
	level               int
	force, compress     bool
	format              string
	digestFile          string
	key, signBy         string
}

func (v *Push) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all-tags", "a", false, "Push all tagged images in the repository")
	f.BoolVar(&v.noTrust, "disable-content-trust", true, "Skip image signing")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress verbose output")
	f.StringVar(&v.platform, "platform", "", "Push only this platform of a multi-platform image")
	f.StringVar(&v.compression, "compression-format", "", "Compression of layers whose bytes are not kept (gzip, zstd)")
	f.IntVar(&v.level, "compression-level", 0, "Compression level")
	f.BoolVar(&v.force, "force-compression", false, "Compress again what is kept in another form")
	f.StringVar(&v.key, "sign-by-sigstore-private-key", "", "Sign what was pushed with this private key, a PEM file")
	f.StringVar(&v.signBy, "sign-by", "", "Name of a GnuPG key; not served")
	f.StringVar(&v.digestFile, "digestfile", "", "Write the digest of the pushed image to this file")
	ignored := new(command.Ignored)
	ignored.Bool(f, "remove-signatures", "Send no signatures")
	f.BoolVar(&v.compress, "compress", false, "Compress an archive that is written")
	v.access.Flags(f)
	v.access.RetryFlags(f)
	f.StringVar(&v.format, "format", "", "Form of the manifest (oci, v2s2); without it as it is")
	command.Extra(f, "platform", "compression-format", "compression-level", "force-compression", "digestfile", "format", "compress",
		"sign-by-sigstore-private-key", "sign-by")
	_ = f.MarkHidden("sign-by")
}

// request has no effects. podman's second word is the destination.
func (v *Push) request(words []string) (engine.PushRequest, error) {
	var r engine.PushRequest
	r.Source = words[0]
	if !v.noTrust {
		return r, command.ErrContentTrust
	}
	if len(words) > 1 {
		if v.all {
			return r, errors.New("a destination can't be used with --all-tags/-a")
		}
		r.Name = words[1]
	}
	if v.all && hasTag(r.Source) {
		return r, errors.New("tag can't be used with --all-tags/-a")
	}
	switch v.compression {
	case "", "gzip", "zstd", "zstd:chunked":
	default:
		return r, fmt.Errorf("unknown compression format %q", v.compression)
	}
	if v.signBy != "" {
		return r, trust.ErrSimpleSigning
	}
	switch v.format {
	case "", image.ManifestOCI:
		r.Format = v.format
	case image.ManifestDocker, "docker":
		r.Format = image.ManifestDocker
	default:
		return r, fmt.Errorf("unknown format %q: want oci or v2s2", v.format)
	}
	access, err := v.access.Value()
	if err != nil {
		return r, err
	}
	r.AllTags, r.Platform, r.Access = v.all, v.platform, access
	r.Compression, r.Level, r.Force = v.compression, v.level, v.force
	return r, nil
}

func (v *Push) Run(ctx context.Context, c *command.Call, words []string) error {
	var at *place
	var err error
	if len(words) > 1 {
		if words[1], at, err = transport(c, words[1]); err != nil {
			return err
		}
	}
	r, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	var key []byte
	if v.key != "" {
		if key, err = trust.ReadKey(v.key); err != nil {
			return err
		}
	}
	if at != nil {
		return at.push(ctx, c, e, words[0], v)
	}
	view := newPushView(c, r, v.quiet)
	if err := view.begin(e); err != nil {
		return err
	}
	r.Named, r.Progress = view.named, view.progress
	pushed, err := engine.Push(ctx, e, r)
	if err != nil {
		return unknownImage(c, err, func(string) error { return missingTag(ctx, e, r.Source) })
	}
	view.end(pushed)
	if key != nil {
		if err := engine.SignPushed(ctx, e, pushed, key, r.Access); err != nil {
			return command.FromEngine(err)
		}
	}
	if v.digestFile == "" || len(pushed) == 0 {
		return nil
	}
	return os.WriteFile(v.digestFile, []byte(pushed[len(pushed)-1].Digest), 0o644)
}

// missingTag is docker's line: another one if the repository is here.
func missingTag(ctx context.Context, e *engine.Engine, typed string) error {
	repository, _ := splitTag(typed)
	found, err := engine.ImageList(ctx, e, image.ListOptions{Filters: map[string][]string{"reference": {repository}}})
	if err == nil && len(found) > 0 {
		return fmt.Errorf("tag does not exist: %s", withTag(typed))
	}
	return command.Line("An image does not exist locally with the tag: %s", repository)
}

// pushView shows a push as the dialect does.
type pushView struct {
	mu     sync.Mutex // retries are told of beside the rest
	call   *command.Call
	r      engine.PushRequest
	quiet  bool
	lines  *term.Lines
	name   string
	tag    string
	copied map[string]bool
}

func newPushView(c *command.Call, r engine.PushRequest, quiet bool) *pushView {
	pull := newPullView(c, nil, engine.PullRequest{}, quiet)
	return &pushView{call: c, r: r, quiet: quiet, lines: pull.lines, copied: map[string]bool{}}
}

func (v *pushView) begin(e *engine.Engine) error {
	typed := v.r.Name
	if typed == "" {
		typed = v.r.Source
	}
	canonical, err := e.Images.Name(typed)
	if err != nil {
		return err
	}
	if v.call.Podman() {
		return nil
	}
	if !v.r.AllTags && !hasTag(typed) {
		v.lines.Text("Using default tag: latest")
	}
	registry, path, _ := engine.SplitName(canonical)
	v.lines.Text("The push refers to repository [%s/%s]", registry, path)
	return nil
}

func (v *pushView) named(canonical string) { v.name = canonical }

func (v *pushView) progress(p image.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.call.Podman() {
		if !v.copied["begin"] {
			v.copied["begin"] = true
			v.lines.Text("Getting image source signatures")
		}
		if p.Step == image.StepRetrying {
			v.lines.Text("trying again: %s", p.Detail)
			return
		}
		id := "Copying blob " + string(p.Digest)
		if !v.copied[id] {
			v.copied[id] = true
			v.lines.Text("%s", id)
		}
		return
	}
	if v.tag != p.Ref {
		v.tag = p.Ref
		v.lines.Reset()
	}
	id := shortID(p.Digest)
	switch p.Step {
	case image.StepPushing:
		v.lines.Amount(id, string(p.Step), p.Current, p.Total)
	case image.StepMounted:
		v.lines.State(id, "Mounted from "+p.Detail)
	case image.StepRetrying:
		v.lines.State(cmp.Or(id, "Retrying"), "trying again: "+p.Detail)
	default:
		v.lines.State(id, string(p.Step))
	}
}

func (v *pushView) end(pushed []image.Pushed) {
	if v.call.Podman() {
		v.lines.Text("Writing manifest to image destination")
		v.lines.Text("Storing signatures")
		return
	}
	for _, p := range pushed {
		_, _, tag := engine.SplitName(p.Name)
		v.lines.Text("%s: digest: %s size: %d", tag, p.Digest, p.Size)
	}
	if v.quiet {
		name := v.name
		if v.r.AllTags {
			registry, path, _ := engine.SplitName(v.name)
			name = registry + "/" + path
		}
		fmt.Fprintln(v.call.Out, term.Clean(name))
	}
}
