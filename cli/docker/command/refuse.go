package command

import (
	"fmt"
	"strings"
)

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
