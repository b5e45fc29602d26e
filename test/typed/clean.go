package typed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Clean removes the containers that a script left, with a program and variables of its own,
// and tells of them; an ordinary user's holder has ended then.
func Clean(e *testscript.Env, program string, vars []string) {
	do := func(words ...string) ([]byte, error) {
		cmd := exec.Command(program, words...)
		cmd.Env, cmd.Dir = vars, "/"
		return cmd.Output()
	}
	left, err := do("ps", "-aq")
	if ids := strings.Fields(string(left)); err != nil || len(ids) > 0 {
		_, _ = do(append([]string{"rm", "-f"}, ids...)...)
		e.T().Log("left behind: ", strings.Join(ids, " "), err)
	}
	// A user's holder goes a little after the last monitor.
	holder := filepath.Join(e.Getenv("BERTH_RUN"), "holder")
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(holder); err != nil {
			return
		}
	}
	e.T().Log("left behind: a holder")
}
