package command

import (
	"fmt"
	"strings"

	"berth/cli/docker/format"
)

// ErrContentTrust refuses --disable-content-trust=false.
var ErrContentTrust = Line("--disable-content-trust=false: Docker's content trust (notary) is not served")

// Refuse words an error as run and create do: with the program's name before
// it and the way to the help behind, and with an exit code. podman's words are
// those of every verb.
func Refuse(c *Call, verb string, code int, err error) error {
	return refuse(c, code, err, fmt.Sprintf("\nSee '%s %s --help'.", c.Program, verb))
}

// Fail is Refuse without the way to the help: what was asked for was made, and
// could not be started.
func Fail(c *Call, code int, err error) error { return refuse(c, code, err, "") }

func refuse(c *Call, code int, err error, help string) error {
	if err == nil {
		return nil
	}
	if c.Podman() {
		return &Exit{Code: code, Err: err}
	}
	s := text(c.Dialect, err)
	if c.Dialect == Berth {
		s = strings.TrimPrefix(s, saysError)
	}
	return &Exit{Code: code, Err: Line("%s: %s.%s", c.Program, strings.TrimSuffix(s, "."), help)}
}

// exitTemplate is docker's exit code for a template that is none.
const exitTemplate = 64

// CheckTemplate refuses what is no template, in docker's words before anything
// is printed; podman says so when it prints.
func CheckTemplate(c *Call, source string) error {
	if err := format.Check(source); err != nil && !c.Podman() {
		return &Exit{Code: exitTemplate, Err: err}
	}
	return nil
}
