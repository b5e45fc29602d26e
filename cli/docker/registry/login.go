package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

func number(n int) string { return strconv.Itoa(n) }

// Docker Hub's name among registries, and the key that docker keeps it under.
const (
	hub    = "docker.io"
	hubKey = "https://index.docker.io/v1/"
)

// secretLimit caps what is read as a password, in bytes.
const secretLimit = 64 << 10

// Login is login.
type Login struct {
	username, password    string
	stdin, which, verbose bool
	access                command.Access
}

func (v *Login) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.password, "password", "p", "", "Password")
	f.BoolVar(&v.stdin, "password-stdin", false, "Take the password from stdin")
	f.StringVarP(&v.username, "username", "u", "", "Username")
	f.BoolVar(&v.which, "get-login", false, "Return the current login user for the registry")
	f.BoolVarP(&v.verbose, "verbose", "v", false, "Write more detailed information to stdout")
	v.access.FileFlag(f)
	v.access.TLSFlags(f)
	command.Extra(f, "get-login", "verbose")
}

// server has no effects: it is the registry of the words, and as docker calls it.
func server(c *command.Call, words []string) (registry, shown string, err error) {
	if len(words) == 0 {
		if c.Podman() {
			return "", "", errors.New("no registries found in registries.conf, a registry must be provided")
		}
		return hub, hubKey, nil
	}
	registry = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(words[0], "https://"), "http://"), "/")
	if registry == "index.docker.io/v1" || registry == "index.docker.io" || registry == hub {
		if c.Podman() {
			return hub, hub, nil
		}
		return hub, hubKey, nil
	}
	return registry, registry, nil
}

// check has no effects.
func (v *Login) check() error {
	switch {
	case v.stdin && v.password != "":
		return errors.New("--password and --password-stdin are mutually exclusive")
	case v.stdin && v.username == "":
		return command.Line("Must provide --username with --password-stdin")
	}
	return nil
}

func (v *Login) Run(ctx context.Context, c *command.Call, words []string) error {
	registry, shown, err := server(c, words)
	if err != nil {
		return err
	}
	if v.password != "" && !c.Podman() {
		fmt.Fprintln(c.Err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
	}
	if err := v.check(); err != nil {
		return err
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	known, err := engine.LoggedIn(ctx, e, registry, v.access.AuthFile)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return command.FromEngine(err)
	}
	if v.which {
		if known.Username == "" {
			return fmt.Errorf("not logged into %s", shown)
		}
		fmt.Fprintln(c.Out, term.Clean(known.Username))
		return nil
	}
	access, err := v.access.Value()
	if err != nil {
		return err
	}
	r := engine.LoginRequest{Registry: registry, Access: access}
	if v.username == "" && v.password == "" && known.Username != "" {
		fmt.Fprintln(c.Out, "Authenticating with existing credentials...")
		r.Credential = known
		if where, err := engine.Login(ctx, e, r); err == nil {
			return v.done(c, where)
		}
	}
	if r.Credential, err = v.ask(c, registry, known.Username); err != nil {
		return err
	}
	where, err := engine.Login(ctx, e, r)
	if err != nil {
		if c.Podman() {
			return fmt.Errorf("logging into %q: %w", shown, err)
		}
		return command.FromEngine(err)
	}
	v.warn(c, registry)
	return v.done(c, where)
}

// done tells of it, and with --verbose where the credential is kept.
func (v *Login) done(c *command.Call, where string) error {
	if v.verbose {
		fmt.Fprintln(c.Out, "Used:", term.Clean(where))
	}
	answer := "Login Succeeded"
	if c.Podman() {
		answer += "!"
	}
	fmt.Fprintln(c.Out, answer)
	return nil
}

// ask completes the flags from standard input or by questions.
func (v *Login) ask(c *command.Call, registry, known string) (image.Credential, error) {
	cred := image.Credential{Username: v.username, Password: v.password}
	if v.stdin {
		data, err := io.ReadAll(io.LimitReader(c.In, secretLimit))
		if err != nil {
			return cred, fmt.Errorf("read the password: %w", err)
		}
		cred.Password = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	}
	if cred.Username != "" && cred.Password != "" {
		return cred, nil
	}
	in, isFile := c.In.(*os.File)
	if !isFile || !term.Is(in) {
		if c.Podman() {
			return cred, errors.New("getting username and password: reading password: inappropriate ioctl for device")
		}
		return cred, command.Line("Error: Cannot perform an interactive login from a non TTY device")
	}
	if registry == hub && cred.Username == "" && !c.Podman() {
		fmt.Fprintln(c.Out, "Login with your Docker ID to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com to create one.")
	}
	var err error
	if cred.Username == "" {
		question := "Username: "
		if known != "" {
			question = "Username (" + term.Clean(known) + "): "
		}
		if cred.Username, err = term.Ask(in, c.Out, question); err != nil {
			return cred, err
		}
		if cred.Username == "" {
			cred.Username = known
		}
		if cred.Username == "" {
			return cred, command.Line("Error: Non-null Username Required")
		}
	}
	if cred.Password == "" {
		if cred.Password, err = term.Secret(in, c.Out, "Password: "); err != nil {
			return cred, err
		}
		if cred.Password == "" {
			return cred, command.Line("Error: Password Required")
		}
	}
	return cred, nil
}

// warn says where docker keeps a password that no helper keeps.
func (v *Login) warn(c *command.Call, registry string) {
	client := c.Settings.Client
	if c.Podman() || client.CredsStore != "" || client.CredHelpers[registry] != "" {
		return
	}
	fmt.Fprintf(c.Err, "WARNING! Your password will be stored unencrypted in %s.\n"+
		"Configure a credential helper to remove this warning. See\n"+
		"https://docs.docker.com/engine/reference/commandline/login/#credentials-store\n\n", c.Settings.ClientFile())
}

// Logout is logout.
type Logout struct {
	all    bool
	access command.Access
}

func (v *Logout) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Remove the cached credentials for all registries")
	v.access.FileFlag(f)
	command.Extra(f, "all")
}

func (v *Logout) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.all && len(words) > 0 {
		return errors.New("--all takes no arguments")
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	if v.all {
		if err := engine.Logout(ctx, e, "", v.access.AuthFile, true); err != nil {
			return command.FromEngine(err)
		}
		fmt.Fprintln(c.Out, "Removed login credentials for all registries")
		return nil
	}
	registry, shown, err := server(c, words)
	if err != nil {
		return err
	}
	err = engine.Logout(ctx, e, registry, v.access.AuthFile, false)
	switch {
	case c.Podman() && fault.Is(err, fault.NotFound):
		return fmt.Errorf("not logged into %s", shown)
	case err != nil && !fault.Is(err, fault.NotFound):
		return command.FromEngine(err)
	case c.Podman():
		fmt.Fprintln(c.Out, "Removed login credentials for", term.Clean(shown))
	default:
		fmt.Fprintln(c.Out, "Removing login credentials for", term.Clean(shown))
	}
	return nil
}
