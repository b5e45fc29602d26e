// Package rootless runs berth-oci as ordinary users: one without a name and
// with only its own id, and one with ranges of subordinate ids.
//
// The tests themselves run as root, which makes these users. It belongs to
// the tests, outside the rows.
package rootless

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/bundle"
	"berth/test/leak"
)

// lonely is a user with its own id only: no file knows it.
var lonely = account.Alone(64871)

// ranged is a user with subordinate ids, made by TestMain.
var ranged account.Account

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	var err error
	if ranged, err = account.Make("berth-test"); err != nil {
		fmt.Fprintln(os.Stderr, "make a user:", err)
		os.Exit(1)
	}
	code := leak.Main(m, leak.Config{})
	if err := ranged.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, "remove the user:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes the users that the tests are about")
	}
}

// seat is a user's place to work: a folder that is XDG_RUNTIME_DIR, and a
// runtime that is started as the user.
type seat struct {
	account.Account
	rt  *bundle.Runtime
	dir string
	t   *testing.T
}

// alone waits for the end of holders of earlier tests, which stay a little while: what ends
// meanwhile would be a loss to a test that looks for leaks.
func alone(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := append(ranged.Processes(), lonely.Processes()...)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a user's process of an earlier test is still there: %q", left)
		}
	}
}

// sit starts to work as a user with the runtime under test, or another one.
func sit(t *testing.T, a account.Account, program string) *seat {
	t.Helper()
	alone(t)
	s := &seat{Account: a, t: t}
	if program == "" {
		s.rt = bundle.Ours(t)
	} else {
		s.rt = bundle.Other(t, program)
	}
	s.dir = filepath.Join(t.TempDir(), "xdg")
	if err := account.Open(filepath.Dir(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.rt.Root = filepath.Join(s.dir, "state")
	for _, dir := range []string{s.dir, s.rt.Root, filepath.Join(s.dir, "berth-oci")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(a.UID), int(a.GID)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.clear)
	return s
}

// clear removes containers that are left, as the user: the ids and cgroups of
// root's commands would be others.
func (s *seat) clear() {
	entries, _ := os.ReadDir(s.rt.Root)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), bundle.Prefix) {
			s.do("delete", "--force", e.Name())
		}
	}
}

// command prepares a command of the user.
func (s *seat) command(words ...string) *exec.Cmd {
	cmd := s.rt.Command(words...)
	cmd.SysProcAttr.Credential = s.Credential()
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.dir, "HOME="+s.dir)
	cmd.Dir = s.dir
	return cmd
}

func (s *seat) do(words ...string) bundle.Result {
	s.t.Helper()
	return s.rt.Finish(s.command(words...))
}

func (s *seat) must(words ...string) bundle.Result {
	s.t.Helper()
	res := s.do(words...)
	if res.Code != 0 {
		s.t.Fatalf("%s", res)
	}
	return res
}

// give makes everything below the folder the user's.
func (s *seat) give(dir string) {
	s.t.Helper()
	if err := s.Give(dir); err != nil {
		s.t.Fatal(err)
	}
}
