package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// place is what podman's words write with a transport in front: an archive or a
// folder, and the image in it.
type place struct {
	format     image.Format
	path, name string
}

// transports are the forms by podman's words (containers-transports(5)).
var transports = map[string]image.Format{
	"docker-archive": image.FormatDocker, "oci-archive": image.FormatOCI, "oci": image.FormatOCIDir, "dir": image.FormatDockerDir,
}

// elsewhere are the transports to other engines' stores.
var elsewhere = map[string]string{
	"docker-daemon":      `images of Docker are taken over with "import-from docker"`,
	"containers-storage": `images of Podman are taken over with "import-from podman"`,
	"ostree":             "there is no OSTree here", "sif": "there is no SIF here", "tarball": `a root file system is taken with "import"`,
}

// transport takes a transport off a word: a registry's name comes back as
// registry, an archive as a place. docker knows no transports.
func transport(c *command.Call, word string) (registry string, p *place, err error) {
	if c.Dialect == command.Docker {
		return word, nil, nil
	}
	if name, ok := strings.CutPrefix(word, "docker://"); ok {
		return name, nil, nil
	}
	kind, rest, ok := strings.Cut(word, ":")
	if !ok {
		return word, nil, nil
	}
	if why := elsewhere[kind]; why != "" {
		return "", nil, fmt.Errorf("%s: this transport is not served: %s", word, why)
	}
	format := transports[kind]
	if format == "" {
		return word, nil, nil
	}
	p = &place{format: format}
	if p.path, p.name, _ = strings.Cut(rest, ":"); format == image.FormatDockerDir {
		p.path, p.name = rest, ""
	}
	if p.path == "" {
		return "", nil, fmt.Errorf("%s: a path is missing behind %s", word, kind)
	}
	return "", p, nil
}

// pull loads the images of a place. A folder whose image has no name gives it
// its path, as podman does.
func (p *place) pull(ctx context.Context, c *command.Call, e *engine.Engine, v *Pull) error {
	if v.all || v.access.Retries != 0 {
		return errors.New("an archive has no registry: --all-tags and --retry make no sense with it")
	}
	r := engine.LoadRequest{Path: p.path}
	r.Only = p.name
	if name := ownName(c, strings.Trim(p.path, "/.")); p.format == image.FormatDockerDir || p.format == image.FormatOCIDir && p.name == "" {
		if _, err := e.Images.Name(name); err == nil {
			r.Name = name
		}
	}
	if c.Podman() && !v.quiet {
		fmt.Fprintln(c.Err, "Getting image source signatures")
	}
	loaded, err := engine.ImageLoad(ctx, e, r)
	if err != nil {
		return command.FromEngine(err)
	}
	for _, l := range loaded {
		if c.Podman() {
			if !v.quiet {
				fmt.Fprintf(c.Err, "Copying config %s\nWriting manifest to image destination\nStoring signatures\n", l.ID)
			}
			fmt.Fprintln(c.Out, hexOf(l.ID))
			continue
		}
		shown := e.Images.Familiar(cmp.Or(l.Name, string(l.ID)))
		if !v.quiet {
			shown = "Loaded image: " + shown
		}
		fmt.Fprintln(c.Out, term.Clean(shown))
	}
	return nil
}

// push saves one image into a place.
func (p *place) push(ctx context.Context, c *command.Call, e *engine.Engine, source string, v *Push) error {
	if v.all || v.digestFile != "" || v.compression != "" || v.format != "" || v.key != "" {
		return errors.New("an archive has no registry: --all-tags, --digestfile, --format, --compression-format and keys make no sense with it")
	}
	o := image.SaveOptions{Format: p.format, As: p.name, Platform: v.platform, Compress: v.compress}
	var err error
	if p.format == image.FormatDockerDir || p.format == image.FormatOCIDir {
		o.Dir = p.path
		err = engine.ImageSave(ctx, e, nil, []string{source}, o)
	} else {
		err = WriteBeside(p.path, func(f *os.File) error { return engine.ImageSave(ctx, e, f, []string{source}, o) })
	}
	if err != nil {
		return unknownImage(c, err, daemonUnknown)
	}
	if c.Podman() && !v.quiet {
		fmt.Fprintln(c.Err, "Getting image source signatures\nWriting manifest to image destination\nStoring signatures")
	}
	return nil
}
