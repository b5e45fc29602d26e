package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/secret"
)

// Create is podman's secret create: it prints the id.
type Create struct {
	driver          string
	options, labels []string
	env, replace    bool
}

func (v *Create) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.driver, "driver", "d", secret.Driver, "Specify secret driver")
	command.ListFlag(f, &v.options, "driver-opts", "", "Specify driver specific options")
	f.BoolVar(&v.env, "env", false, "Read secret data from an environment variable")
	command.ListFlag(f, &v.labels, "label", "l", "Specify labels on the secret")
	f.BoolVar(&v.replace, "replace", false, "Replace a secret of the same name")
}

// request has no effects; the data come later.
func (v *Create) request(words []string) (Secret, error) {
	s := Secret{Name: words[0]}
	if v.driver != secret.Driver {
		return s, fmt.Errorf("secret driver %s: only %q is served", v.driver, secret.Driver)
	}
	for _, list := range []struct {
		from []string
		into *map[string]string
		what string
	}{{v.labels, &s.Labels, "label"}, {v.options, &s.Options, "driver option"}} {
		for _, l := range list.from {
			k, value, _ := strings.Cut(l, "=")
			if k == "" {
				return s, fmt.Errorf("invalid %s '%s': empty name", list.what, l)
			}
			if *list.into == nil {
				*list.into = map[string]string{}
			}
			(*list.into)[k] = value
		}
	}
	return s, nil
}

func (v *Create) Run(ctx context.Context, c *command.Call, words []string) error {
	s, err := v.request(words)
	if err != nil {
		return err
	}
	if s.Data, err = v.data(c, words[1]); err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	id, err := e.SecretCreate(ctx, s, v.replace)
	if err != nil {
		return command.FromEngine(err)
	}
	fmt.Fprintln(c.Out, id)
	return nil
}

// data are a file's, standard input's or a variable's.
func (v *Create) data(c *command.Call, from string) ([]byte, error) {
	in := c.In
	switch {
	case v.env:
		value, ok := os.LookupEnv(from)
		if !ok {
			return nil, fmt.Errorf("cannot create store secret data: environment variable %s is not set", from)
		}
		return []byte(value), nil
	case from == "-":
		if in == nil || term.Is(in) {
			return nil, errors.New("if `-` is used, data must be passed into stdin")
		}
	default:
		f, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, secret.MaxData+1)) // more is refused
	if err != nil {
		return nil, fmt.Errorf("read the secret's data: %w", err)
	}
	return data, nil
}
