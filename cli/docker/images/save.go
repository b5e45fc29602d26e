package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// Save is save.
type Save struct {
	output, format, platform             string
	compress, quiet, multi, uncompressed bool
}

func (v *Save) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.output, "output", "o", "", "Write to a file, instead of STDOUT")
	f.StringVar(&v.platform, "platform", "", "Save only this platform of a multi-platform image")
	f.StringVar(&v.format, "format", string(image.FormatDocker), "Form of the archive (docker-archive, oci-archive, docker-dir, oci-dir)")
	f.BoolVar(&v.compress, "compress", false, "Compress the archive")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress the output")
	f.BoolVarP(&v.multi, "multi-image-archive", "m", false, "Take the words behind the first as images, not as its names")
	f.BoolVar(&v.uncompressed, "uncompressed", false, "Accept layers that are not compressed")
	command.Extra(f, "platform", "format", "compress", "quiet", "multi-image-archive", "uncompressed")
}

// request has no effects.
func (v *Save) request() (image.SaveOptions, error) {
	o := image.SaveOptions{Format: image.Format(v.format), Platform: v.platform, Compress: v.compress}
	switch o.Format {
	case image.FormatDocker, image.FormatOCI:
	case image.FormatOCIDir, image.FormatDockerDir:
		if v.output == "" {
			return o, fmt.Errorf("--format %s needs --output: a folder can't be written to standard output", v.format)
		}
		o.Dir = v.output
	default:
		return o, fmt.Errorf("unknown format %q: want docker-archive, oci-archive, docker-dir or oci-dir", v.format)
	}
	return o, nil
}

func (v *Save) Run(ctx context.Context, c *command.Call, words []string) error {
	o, err := v.request()
	if err != nil {
		return err
	}
	if v.output == "" && term.Is(c.Out) {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	unknown := func(err error) error {
		return unknownImage(c, err, func(name string) error { return command.FromEngine(command.Line("No such image: %s", name)) })
	}
	if v.output == "" || o.Dir != "" {
		return unknown(engine.ImageSave(ctx, e, c.Out, words, o))
	}
	return WriteBeside(v.output, func(f *os.File) error { return unknown(engine.ImageSave(ctx, e, f, words, o)) })
}

// WriteBeside writes a file beside path and puts it in its place when it is
// whole. What is no regular file is written to directly.
func WriteBeside(path string, write func(*os.File) error) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return fmt.Errorf("invalid output path: %q is a directory", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-save-*")
	if err != nil {
		return fmt.Errorf("invalid output path: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
