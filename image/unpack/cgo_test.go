//go:build cgo

package unpack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A worker confines all its threads, which a program with cgo cannot do
// (syscall.AllThreadsSyscall); berth itself is built without. The tests build
// themselves again like that.
func withoutCgo() {
	dir, err := os.MkdirTemp("", "unpack-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		bin := filepath.Join(dir, "unpack.test")
		build := exec.Command("go", "test", "-c", "-o", bin, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, berr := build.CombinedOutput(); berr != nil {
			err = fmt.Errorf("%w: %s", berr, out)
		} else {
			run := exec.Command(bin, os.Args[1:]...)
			run.Stdout, run.Stderr = os.Stdout, os.Stderr
			run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err = run.Run(); err == nil {
				os.RemoveAll(dir)
				os.Exit(0)
			}
		}
	}
	fmt.Fprintln(os.Stderr, "tests without cgo:", err)
	os.RemoveAll(dir)
	os.Exit(1)
}
