package credential

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"berth/base/fault"
)

// maxOutput is the cap on what a credential program may print.
const maxOutput = 1 << 20

// tokenUser is the user name by which a program says that the secret is an
// identity token.
const tokenUser = "<token>"

// call is one run of docker-credential-NAME; it serves client.Program.
type call struct {
	cmd *exec.Cmd
}

func (c *call) Input(in io.Reader) { c.cmd.Stdin = in }

// Output runs the program; what it prints is kept up to the cap.
func (c *call) Output() ([]byte, error) {
	out, complaint := &capped{limit: maxOutput}, &capped{limit: 1024, drop: true}
	c.cmd.Stdout, c.cmd.Stderr = out, complaint
	err := c.cmd.Run()
	if out.over {
		err = errTooMuch // and not that it died of a closed pipe
	}
	if err != nil && complaint.buf.Len() > 0 {
		err = errors.New(err.Error() + ": " + oneLine(complaint.buf.String()))
	}
	if err != nil {
		out.buf.Truncate(min(out.buf.Len(), 256)) // it goes into messages
	}
	return out.buf.Bytes(), err
}

// capped is a buffer that ends; with drop it takes the rest and forgets it.
// The buffer is no embedded one: io.Copy would fill it by ReadFrom.
type capped struct {
	buf   bytes.Buffer
	limit int
	drop  bool
	over  bool
}

var errTooMuch = errors.New("the program prints too much")

func (c *capped) Write(b []byte) (int, error) {
	room := c.limit - c.buf.Len()
	if len(b) <= room {
		return c.buf.Write(b)
	}
	if !c.drop {
		c.over = true
		return 0, errTooMuch
	}
	c.buf.Write(b[:max(room, 0)])
	return len(b), nil
}

func (k *Keeper) run(ctx context.Context, name string) (client.ProgramFunc, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return nil, fault.New(fault.Invalid, "run credential program %q: not a name", name)
	}
	program := "docker-credential-" + name
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fault.New(fault.NotFound, "run credential program %s: not found in $PATH", program)
	}
	return func(args ...string) client.Program {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Env = k.o.Env
		cmd.WaitDelay = time.Second // a child of it may hold the pipe
		return &call{cmd}
	}, nil
}

func (k *Keeper) fromProgram(ctx context.Context, name, server string) (Credential, error) {
	program, err := k.run(ctx, name)
	if err != nil {
		return Credential{}, err
	}
	got, err := client.Get(program, server)
	if credentials.IsErrCredentialsNotFound(err) {
		return Credential{}, nil
	}
	if err != nil {
		return Credential{}, failed("get", name, server, err)
	}
	if got.Username == tokenUser {
		return Credential{IdentityToken: got.Secret}, nil
	}
	return Credential{Username: got.Username, Password: got.Secret}, nil
}

func (k *Keeper) storeInProgram(ctx context.Context, name, server string, c Credential) error {
	program, err := k.run(ctx, name)
	if err != nil {
		return err
	}
	in := credentials.Credentials{ServerURL: server, Username: c.Username, Secret: c.Password}
	if c.IdentityToken != "" {
		in.Username, in.Secret = tokenUser, c.IdentityToken
	}
	if err := client.Store(program, &in); err != nil {
		return failed("store", name, server, err)
	}
	return nil
}

func (k *Keeper) eraseInProgram(ctx context.Context, name, server string) error {
	program, err := k.run(ctx, name)
	if err != nil {
		return err
	}
	if err := client.Erase(program, server); err != nil && !strings.Contains(err.Error(), "credentials not found") {
		return failed("erase", name, server, err)
	}
	return nil
}

func failed(verb, name, server string, err error) error {
	return fault.New(fault.Unavailable, "%s the credential for %s by docker-credential-%s: %s", verb, server, name, oneLine(err.Error()))
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}
