package manifest

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

func notFound(err error) bool { return fault.Is(err, fault.NotFound) }

// Push is manifest push.
type Push struct {
	purge, all, quiet       bool
	compression, digestFile string
	access                  command.Access
}

func (v *Push) Flags(f *pflag.FlagSet) {
	v.access.InsecureFlag(f, "Allow push to an insecure registry")
	f.BoolVarP(&v.purge, "purge", "p", false, "Remove the local manifest list after push")
	f.BoolVar(&v.purge, "rm", false, "Remove the local manifest list after push")
	f.BoolVar(&v.all, "all", true, "Also push the images in the list")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Don't output progress information")
	f.StringVar(&v.compression, "compression-format", "", "Compression of layers whose bytes are not kept (gzip, zstd)")
	f.StringVar(&v.digestFile, "digestfile", "", "Write the digest of the pushed list to this file")
	new(command.Ignored).Bool(f, "remove-signatures", "Send no signatures")
	v.access.Flags(f)
	command.Extra(f, "rm", "all", "quiet", "compression-format", "digestfile")
}

// request has no effects.
func (v *Push) request(words []string) (image.PushRequest, error) {
	access, err := v.access.Value()
	r := image.PushRequest{Access: access, Compression: v.compression}
	if len(words) == 2 {
		r.Name = member(words[1])
	}
	return r, err
}

func (v *Push) Run(ctx context.Context, c *command.Call, words []string) error {
	r, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if found, err := engine.ImageExists(ctx, e, words[0]); err == nil && !found {
		if c.Podman() {
			return fmt.Errorf("%s: image not known", words[0])
		}
		return command.Line("No such manifest: %s", canonical(e, words[0]))
	}
	pushed, err := engine.ListPush(ctx, e, words[0], v.all, r)
	if err != nil {
		return command.FromEngine(err)
	}
	if !c.Podman() {
		fmt.Fprintln(c.Out, pushed.Digest)
	}
	if v.digestFile != "" {
		if err := os.WriteFile(v.digestFile, []byte(pushed.Digest), 0o644); err != nil {
			return err
		}
	}
	if !v.purge {
		return nil
	}
	return command.FromEngine(engine.ImageRemove(ctx, e, engine.RemoveImageRequest{Names: words[:1]}))
}
