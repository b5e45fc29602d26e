package manifest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/engine"
	"berth/image"
)

// Inspect is manifest inspect: the document of a list here, or of a name at its
// registry.
type Inspect struct {
	verbose bool
	access  command.Access
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	v.access.InsecureFlag(f, "Allow communication with an insecure registry")
	f.BoolVarP(&v.verbose, "verbose", "v", false, "Output additional info including layers and platform")
	v.access.Flags(f)
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.access.Value()
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	word := member(words[len(words)-1])
	data, err := engine.ListInspect(ctx, e, word, r)
	if err != nil {
		return v.unknown(c, e, word, err)
	}
	indent := "\t"
	if c.Podman() {
		indent = "    "
	}
	if !v.verbose || c.Podman() {
		return format.Document(c.Out, json.RawMessage(data), indent)
	}
	return v.long(ctx, c, e, r, word, data)
}

func (v *Inspect) unknown(c *command.Call, e *engine.Engine, word string, err error) error {
	if c.Podman() {
		return err
	}
	if name, nameErr := e.Images.Name(word); nameErr == nil && notFound(err) {
		return fmt.Errorf("no such manifest: %s", name)
	}
	return err
}

// entry is docker's long form of one manifest.
type entry struct {
	Ref              string
	Descriptor       json.RawMessage
	SchemaV2Manifest json.RawMessage
}

// head is what is read of a document.
type head struct {
	MediaType string            `json:"mediaType"`
	Manifests []json.RawMessage `json:"manifests"`
}

// long prints each manifest of a list with its document, or the one that there is.
func (v *Inspect) long(ctx context.Context, c *command.Call, e *engine.Engine, r image.Access, word string, data []byte) error {
	name, err := e.Images.Name(word)
	if err != nil {
		return err
	}
	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("read the manifest of %s: %w", name, err)
	}
	if h.Manifests == nil {
		desc, err := json.Marshal(map[string]any{"mediaType": h.MediaType, "digest": digest.FromBytes(data), "size": len(data)})
		if err != nil {
			return err
		}
		return format.Document(c.Out, entry{name, desc, data}, "\t")
	}
	out := []entry{}
	registry, path, _ := engine.SplitName(name)
	for _, m := range h.Manifests {
		var d struct{ Digest digest.Digest }
		if err := json.Unmarshal(m, &d); err != nil {
			return fmt.Errorf("read the manifest list of %s: %w", name, err)
		}
		ref := registry + "/" + path + "@" + string(d.Digest)
		doc, err := engine.ListInspect(ctx, e, ref, r)
		if err != nil {
			return command.FromEngine(err)
		}
		out = append(out, entry{ref, m, doc})
	}
	return format.Document(c.Out, out, "\t")
}
