package debian

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/berth"
)

// Setup makes a machine for a script: berth and docker on the PATH, a store, a run folder, and settings by which the hub
// is the mirror of Docker Hub. It goes with the script, and tells which containers were left.
func (h *Hub) Setup(e *testscript.Env) error {
	program, err := berth.Locate()
	if err != nil {
		return err
	}
	bin, etc := filepath.Join(e.WorkDir, ".bin"), filepath.Join(e.WorkDir, ".etc")
	for _, d := range []string{bin, filepath.Join(etc, "docker")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"berth", "docker"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	daemon := fmt.Sprintf(`{"registry-mirrors": [%q]}`, h.Mirror())
	if err := os.WriteFile(filepath.Join(etc, "docker/daemon.json"), []byte(daemon), 0o644); err != nil {
		return err
	}
	run, err := os.MkdirTemp("/run", "bt")
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"PATH": bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": e.WorkDir, "TZ": "UTC", "TERM": "xterm",
		"BERTH_ROOT": filepath.Join(e.WorkDir, ".root"), "BERTH_RUN": run, "BERTH_ETC": etc,
	} {
		e.Setenv(k, v)
	}
	vars := e.Vars
	e.Defer(func() {
		clean(e, program, vars)
		_ = os.RemoveAll(run)
	})
	return nil
}

// clean removes what a script left, and tells of it.
func clean(e *testscript.Env, program string, vars []string) {
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
}
