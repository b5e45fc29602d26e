// Package berth runs the real program with a store, a run folder and settings of
// its own, for tests of the verbs on containers: its commands, who it made, and
// what an empty store has too much. It belongs to the tests, outside the rows.
package berth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/network/bridge"
	"berth/sys/netlink"
	"berth/test/account"
	"berth/test/netns"
)

// Berth is one store with its run folder.
type Berth struct {
	Program, Dir, Run string
	seen              map[string]bool  // ids of containers
	as                *account.Account // whose the commands are; nil: the test's
}

// Limit is how long a command may take.
const Limit = 2 * time.Minute

// Locate finds the program under test: $BERTH, or bin/berth of this checkout.
func Locate() (string, error) {
	if p := os.Getenv("BERTH"); p != "" {
		return p, nil
	}
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		p := filepath.Join(dir, "bin/berth")
		if _, failed := os.Stat(filepath.Join(dir, "go.mod")); failed == nil {
			if _, err = os.Stat(p); err != nil {
				return "", fmt.Errorf("the program under test is missing: %w (run make, or set BERTH)", err)
			}
			return p, nil
		}
		dir = filepath.Dir(dir)
	}
	return "", errors.Join(err, errors.New("no checkout above the working folder: set BERTH"))
}

// Make makes an empty store below dir. The run folder is in /run, as sockets have
// short names only; Remove takes it away.
func Make(dir string) (*Berth, error) {
	program, err := Locate()
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"etc", "home", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	run, err := os.MkdirTemp("/run", "bt")
	if err != nil {
		return nil, err
	}
	return &Berth{Program: program, Dir: dir, Run: run, seen: map[string]bool{}}, nil
}

// MakeAs makes an empty store of another user's, with a program that the user gets at
// (account.Copy).
func MakeAs(a account.Account, program, dir string) (*Berth, error) {
	b, err := Make(dir)
	if err != nil {
		return nil, err
	}
	b.Program, b.as = program, &a
	if err := errors.Join(account.Open(dir), a.Give(dir), a.Give(b.Run)); err != nil {
		return nil, errors.Join(err, b.Remove())
	}
	return b, nil
}

// New makes a store that goes with the test, which fails if there is still a
// container in it. The test is in a network namespace of the tests (netns).
func New(t testing.TB) *Berth {
	t.Helper()
	netns.Need(t)
	b, err := Make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := b.Empty(); err != nil || len(left) > 0 {
			t.Errorf("containers are left: %q %v", left, err)
		}
		if err := errors.Join(b.Remove(), dropBridges()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// dropBridges removes the default bridges of stores that are gone from a network
// namespace of the tests: each store has one of its own, and a handful of names
// for it.
func dropBridges() error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.Links()
	if err != nil {
		return err
	}
	for _, l := range all {
		if bridge.Owner(l) != "" {
			err = errors.Join(err, c.DeleteLink(l.Name))
		}
	}
	return err
}

// Root is the folder of the store.
func (b *Berth) Root() string { return filepath.Join(b.Dir, "root") }

// Empty removes all containers by force and tells which there were.
func (b *Berth) Empty() ([]string, error) {
	r := b.Do("ps", "-aq", "--no-trunc")
	left := strings.Fields(r.Out)
	if len(left) > 0 {
		r = b.Do(append([]string{"rm", "-f"}, left...)...)
	}
	return left, r.Err()
}

// Remove removes the run folder; the store goes with its parent.
func (b *Berth) Remove() error { return os.RemoveAll(b.Run) }

// Env is the environment of the commands.
func (b *Berth) Env() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "BERTH_") && !strings.HasPrefix(kv, "BERTH_LEAK=") })
	home := filepath.Join(b.Dir, "home")
	return append(env, "BERTH_ROOT="+b.Root(), "BERTH_RUN="+b.Run, "BERTH_ETC="+filepath.Join(b.Dir, "etc"), "HOME="+home, "TZ=UTC")
}

// Result is what a command left. Code is -1 for one that did not end in time.
type Result struct {
	Words       []string
	Out, Errors string
	Code        int
}

func (r Result) String() string {
	return fmt.Sprintf("berth %s: exit %d: %.600s%.300s", strings.Join(r.Words, " "), r.Code, r.Errors, r.Out)
}

// Err is an error unless the command ended well.
func (r Result) Err() error {
	if r.Code == 0 {
		return nil
	}
	return errors.New(r.String())
}

// Command is a command of the program, not started.
func (b *Berth) Command(words ...string) *exec.Cmd {
	cmd := exec.Command(b.Program, words...)
	cmd.Env, cmd.Dir = b.Env(), b.Dir
	if b.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.as.Credential()}
	}
	return cmd
}

// Do runs a command to its end.
func (b *Berth) Do(words ...string) Result { return b.Under(nil, words...) }

// Must runs a command that has to end well, and gives what it prints without the
// spaces around it.
func (b *Berth) Must(t testing.TB, words ...string) string {
	t.Helper()
	r := b.Do(words...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return strings.TrimSpace(r.Out)
}

// Under runs a command by another one, a tracer, which is root and makes the command
// the user's.
func (b *Berth) Under(by []string, words ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	all := slices.Concat(by, []string{b.Program}, words)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = b.Env(), b.Dir, 5*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if b.as != nil && len(by) == 0 {
		cmd.SysProcAttr.Credential = b.as.Credential()
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := Result{Words: words, Out: out.String(), Errors: errs.String()}
	if err == nil {
		return r
	}
	r.Code = -1
	if cmd.ProcessState != nil && ctx.Err() == nil {
		r.Code = cmd.ProcessState.ExitCode()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			r.Code = 128 + int(ws.Signal())
		}
	}
	if r.Code == -1 {
		r.Errors += fmt.Sprint(err)
	}
	return r
}

var id = regexp.MustCompile(`[0-9a-f]{64}`)

// Note remembers the containers that there are or were: of a killed command
// nobody else knows later that it made one.
func (b *Berth) Note() {
	for _, dir := range []string{"containers", "locks/containers", "oci", "ids"} {
		entries, _ := os.ReadDir(filepath.Join(b.Run, dir))
		for _, e := range entries {
			if one := id.FindString(e.Name()); one != "" {
				b.seen[one] = true
			}
		}
	}
	for _, pattern := range []string{b.Root() + "/containers/d/*", b.Run + "/journal/*"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			data, _ := os.ReadFile(f)
			for _, one := range append(id.FindAllString(string(data), -1), id.FindString(filepath.Base(f))) {
				if one != "" {
					b.seen[one] = true
				}
			}
		}
	}
}

// Cgroups are those of its containers, in every hierarchy, that are still there.
func (b *Berth) Cgroups() []string {
	b.Note()
	var out []string
	for _, top := range []string{"/sys/fs/cgroup/berth/*", "/sys/fs/cgroup/*/berth/*"} {
		all, _ := filepath.Glob(top)
		for _, dir := range all {
			if b.seen[id.FindString(filepath.Base(dir))] {
				out = append(out, dir)
			}
		}
	}
	return out
}
