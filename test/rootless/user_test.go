// Package rootless runs berth-oci as ordinary users: one without a name and
// with only its own id, and one with ranges of subordinate ids.
//
// The tests themselves run as root, which makes these users. It belongs to
// the tests, outside the rows.
package rootless

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"
)

// account is an ordinary user of the host.
type account struct {
	uid, gid uint32
	// first and count are the subordinate ids, of users and groups alike; 0
	// without any.
	first, count uint32
}

// lonely is a user with its own id only: no file knows it.
var lonely = account{uid: 64871, gid: 64871}

// ranged is the user berth-test, made by TestMain.
var ranged account

const rangedName = "berth-test"

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	if err := makeUser(); err != nil {
		fmt.Fprintln(os.Stderr, "make the user", rangedName+":", err)
		os.Exit(1)
	}
	code := leak.Main(m, leak.Config{})
	if out, err := exec.Command("userdel", rangedName).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "remove the user %s: %v: %s\n", rangedName, err, out)
		code = max(code, 1)
	}
	os.Exit(code)
}

// makeUser makes the user, or takes the one that a test left which was killed.
func makeUser() error {
	u, err := user.Lookup(rangedName)
	if err != nil {
		if out, err := exec.Command("useradd", "--no-create-home", "--shell", "/bin/sh", rangedName).CombinedOutput(); err != nil {
			return fmt.Errorf("useradd: %w: %s", err, out)
		}
		if u, err = user.Lookup(rangedName); err != nil {
			return err
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("ids %q, %q", u.Uid, u.Gid)
	}
	ranged = account{uid: uint32(uid), gid: uint32(gid)}
	if ranged.first, ranged.count, err = subordinate(); err != nil {
		return err
	}
	if ranged.count == 0 { // login.defs(5) may say that users get none
		const add = "1700000000-1700065535"
		if out, err := exec.Command("usermod", "--add-subuids", add, "--add-subgids", add, rangedName).CombinedOutput(); err != nil {
			return fmt.Errorf("usermod: %w: %s", err, out)
		}
		if ranged.first, ranged.count, err = subordinate(); err != nil {
			return err
		}
	}
	return nil
}

// subordinate is the range in both of subuid(5) and subgid(5).
func subordinate() (first, count uint32, err error) {
	for i, path := range []string{"/etc/subuid", "/etc/subgid"} {
		f, err := os.Open(path)
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		var a, n uint64
		for s := bufio.NewScanner(f); s.Scan(); {
			if part := strings.Split(s.Text(), ":"); len(part) == 3 && part[0] == rangedName {
				a, _ = strconv.ParseUint(part[1], 10, 32)
				n, _ = strconv.ParseUint(part[2], 10, 32)
			}
		}
		if i == 1 && (uint32(a) != first || uint32(n) != count) {
			return 0, 0, fmt.Errorf("%s has another range", path)
		}
		first, count = uint32(a), uint32(n)
	}
	return first, count, nil
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
	account
	rt  *bundle.Runtime
	dir string
	t   *testing.T
}

// sit starts to work as a user with the runtime under test, or another one.
func sit(t *testing.T, a account, program string) *seat {
	t.Helper()
	s := &seat{account: a, t: t}
	if program == "" {
		s.rt = bundle.Ours(t)
	} else {
		s.rt = bundle.Other(t, program)
	}
	s.dir = filepath.Join(t.TempDir(), "xdg")
	open(t, s.dir)
	s.rt.Root = filepath.Join(s.dir, "state")
	for _, dir := range []string{s.dir, s.rt.Root, filepath.Join(s.dir, "berth-oci")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(a.uid), int(a.gid)); err != nil {
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

// open lets everybody through the folders above a path.
func open(t *testing.T, path string) {
	t.Helper()
	for p := filepath.Dir(path); strings.HasPrefix(p, os.TempDir()+"/"); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// command prepares a command of the user.
func (s *seat) command(words ...string) *exec.Cmd {
	cmd := s.rt.Command(words...)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.gid}
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
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(s.uid), int(s.gid))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
