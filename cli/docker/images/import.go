package images

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

// Import is import.
type Import struct {
	changes  []string
	message  string
	quiet    bool
	platform command.Platform
}

func (v *Import) Flags(f *pflag.FlagSet) {
	command.ListFlag(f, &v.changes, "change", "c", "Apply Dockerfile instruction to the created image")
	f.StringVarP(&v.message, "message", "m", "", "Set commit message for imported image")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress output")
	v.platform.Flags(f, "Set platform if server is multi-platform capable")
	command.Extra(f, "quiet")
}

// request has no effects; the source is left to Run.
func (v *Import) request(words []string) (image.ImportOptions, error) {
	platform, err := v.platform.Value(runtime.GOARCH)
	o := image.ImportOptions{Message: v.message, Changes: v.changes, Platform: platform}
	if o.Message == "" {
		o.Message = "Imported from " + words[0]
	}
	if len(words) == 2 {
		o.Name = words[1]
	}
	return o, err
}

func (v *Import) Run(ctx context.Context, c *command.Call, words []string) error {
	o, err := v.request(words)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if o.Name = ownName(c, o.Name); o.Name != "" {
		if _, err := e.Images.Name(o.Name); err != nil {
			return err
		}
	}
	source, err := openSource(ctx, c, words[0])
	if err != nil {
		return err
	}
	defer source.Close()
	o.Source = source
	id, err := engine.ImageImport(ctx, e, o)
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintln(c.Out, id)
	return nil
}

// openSource opens a file, an address, or standard input for "-".
func openSource(ctx context.Context, c *command.Call, word string) (io.ReadCloser, error) {
	switch {
	case word == "-":
		return io.NopCloser(c.In), nil
	case strings.HasPrefix(word, "http://"), strings.HasPrefix(word, "https://"):
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, word, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, fmt.Errorf("import from %s: %w", word, err)
		}
		if resp.StatusCode != http.StatusOK {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("import from %s: the server answers %s", word, resp.Status)
		}
		return resp.Body, nil
	}
	return os.Open(word)
}
