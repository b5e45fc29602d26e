package debian

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/account"
	"berth/test/berth"
	"berth/test/typed"
)

// Setup makes a machine for a script: berth and docker on the PATH, a store, a run folder, and settings by which the hub
// is the mirror of Docker Hub. It goes with the script, and tells which containers were left.
func (h *Hub) Setup(e *testscript.Env) error {
	program, err := berth.Locate()
	if err != nil {
		return err
	}
	return h.setup(e, account.Account{}, program)
}

// SetupAs makes the same for another user, with a program that the user gets at (account.Copy).
func (h *Hub) SetupAs(who account.Account, program string) func(*testscript.Env) error {
	return func(e *testscript.Env) error { return h.setup(e, who, program) }
}

func (h *Hub) setup(e *testscript.Env, who account.Account, program string) error {
	bin, etc := filepath.Join(e.WorkDir, ".bin"), filepath.Join(e.WorkDir, ".etc")
	for _, d := range []string{bin, filepath.Join(etc, "docker")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"berth", "docker"} {
		if err := who.Link(program, bin, name); err != nil {
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
		"OWNER": fmt.Sprintf("%d:%d", who.UID, who.GID),
	} {
		e.Setenv(k, v)
	}
	vars := e.Vars
	e.Defer(func() {
		typed.Clean(e, filepath.Join(bin, "berth"), vars)
		_ = os.RemoveAll(run)
	})
	if !who.Switched() {
		return nil
	}
	return errors.Join(account.Open(e.WorkDir), who.Give(e.WorkDir), who.Give(run))
}
