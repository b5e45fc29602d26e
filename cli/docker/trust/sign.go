package trust

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
)

// Sign is image sign: a cosign-style signature with a local key, kept beside
// the image in its registry.
type Sign struct {
	key, by string
	access  command.Access
}

func (v *Sign) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.key, "key", "", "Private key, a PEM file")
	f.StringVar(&v.key, "sign-by-sigstore-private-key", "", "Private key, a PEM file")
	f.StringVar(&v.by, "sign-by", "", "Name of a GnuPG key; not served")
	f.BoolP("all", "a", false, "Sign all the manifests; a signature of the list holds for them")
	v.access.Flags(f)
	_ = f.MarkHidden("sign-by")
	_ = f.MarkHidden("sign-by-sigstore-private-key")
}

func (v *Sign) Run(ctx context.Context, c *command.Call, words []string) error {
	switch {
	case v.by != "":
		return ErrSimpleSigning
	case v.key == "":
		return errors.New("image sign needs --key FILE: a private key, as image trust key makes it")
	}
	access, err := v.access.Value()
	if err != nil {
		return err
	}
	key, err := ReadKey(v.key)
	if err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	for _, w := range words {
		d, err := engine.Sign(ctx, e, w, key, access)
		if err != nil {
			return command.FromEngine(fmt.Errorf("sign %s: %w", w, err))
		}
		fmt.Fprintln(c.Out, d)
	}
	return nil
}

// ErrSimpleSigning refuses GnuPG's signatures.
var ErrSimpleSigning = errors.New("--sign-by is not served: images are signed with a PEM key: --sign-by-sigstore-private-key FILE")

// Verify is image verify: would the policy accept the image, or did one of the
// keys sign it?
type Verify struct {
	keys   []string
	access command.Access
}

func (v *Verify) Flags(f *pflag.FlagSet) {
	f.StringSliceVar(&v.keys, "key", nil, "Public key that may have signed, in the place of the policy; a PEM file")
	v.access.Flags(f)
}

func (v *Verify) Run(ctx context.Context, c *command.Call, words []string) error {
	access, err := v.access.Value()
	if err != nil {
		return err
	}
	var keys [][]byte
	for _, k := range v.keys {
		data, err := ReadKey(k)
		if err != nil {
			return err
		}
		keys = append(keys, data)
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	for _, w := range words {
		d, err := engine.Verify(ctx, e, w, keys, access)
		if err != nil {
			return command.FromEngine(err)
		}
		fmt.Fprintln(c.Out, d)
	}
	return nil
}
