package command

import "strings"

// Refuse words an error as run and create do: with the program's name before
// it and the way to the help behind, and with an exit code. podman's words are
// those of every verb.
func Refuse(c *Call, verb string, code int, err error) error {
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
	return &Exit{Code: code, Err: Line("%s: %s.\nSee '%s %s --help'.", c.Program, strings.TrimSuffix(s, "."), c.Program, verb)}
}
