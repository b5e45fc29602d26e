package debian

import (
	"fmt"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/account"
	"berth/test/berth"
)

// Machine is who types scripts, and on what.
type Machine struct {
	Setup     func(*testscript.Env) error
	Condition func(string) (bool, error)
}

// Machine is root's machine, or with a name that of an ordinary user with subordinate ids, who goes with the test.
// Scripts may ask for [root].
func (h *Hub) Machine(t *testing.T, user string) Machine {
	t.Helper()
	m := Machine{Setup: h.Setup, Condition: func(cond string) (bool, error) {
		if cond != "root" {
			return false, fmt.Errorf("unknown condition %q", cond)
		}
		return user == "", nil
	}}
	if user == "" {
		return m
	}
	who := account.Temporary(t, user)
	program, err := berth.Locate()
	if err == nil {
		program, err = account.Copy(program, t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	m.Setup = h.SetupAs(who, program)
	return m
}
