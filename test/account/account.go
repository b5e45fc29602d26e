// Package account is the ordinary users that tests run programs as: one with
// its own id only, which no file of the host knows, and ones that are made with
// ranges of subordinate ids. Root makes them and starts programs as them. It
// belongs to the tests, outside the rows.
package account

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Account is a user of the host, root too.
type Account struct {
	UID, GID uint32
	// First and Count are the subordinate ids, of users and groups alike; 0
	// without any.
	First, Count uint32
	name         string // of one that Make made
}

// Alone is a user with its own id only.
func Alone(id uint32) Account { return Account{UID: id, GID: id} }

// Own is the user who runs the test.
func Own() (Account, error) {
	a := Account{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if a.UID == 0 {
		return a, nil
	}
	u, err := user.Current()
	if err != nil {
		return a, err
	}
	if _, err := exec.LookPath("newuidmap"); err != nil {
		return a, nil
	}
	a.First, a.Count, err = ranges(u.Username)
	return a, err
}

// Make makes a user with ranges, or takes the one that a test left which was
// killed. Each test package has a name of its own.
func Make(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if err := run("useradd", "--no-create-home", "--shell", "/bin/sh", name); err != nil {
			return Account{}, err
		}
		if u, err = user.Lookup(name); err != nil {
			return Account{}, err
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return Account{}, err
	}
	a := Account{UID: uint32(uid), GID: uint32(gid), name: name}
	if a.First, a.Count, err = ranges(name); err != nil || a.Count > 0 {
		return a, err
	}
	// login.defs(5) may say that users get none.
	h := fnv.New32()
	_, _ = h.Write([]byte(name))
	first := 1700000000 + uint64(h.Sum32()%1000)<<16
	add := fmt.Sprintf("%d-%d", first, first+1<<16-1)
	if err := run("usermod", "--add-subuids", add, "--add-subgids", add, name); err != nil {
		return Account{}, err
	}
	if a.First, a.Count, err = ranges(name); err == nil && a.Count == 0 {
		err = fmt.Errorf("user %s has no ranges, or not the same of users and groups", name)
	}
	return a, err
}

// Ranges takes the user's subordinate ids away, or gives them back.
func (a Account) Ranges(give bool) error {
	word, span := "--del-sub", fmt.Sprintf("%d-%d", a.First, a.First+a.Count-1)
	if give {
		word = "--add-sub"
	}
	return run("usermod", word+"uids", span, word+"gids", span, a.name)
}

// Temporary is a user whom Make makes, and who goes with the test.
func Temporary(t testing.TB, name string) Account {
	t.Helper()
	who, err := Make(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := who.Remove(); err != nil {
			t.Error(err)
		}
	})
	return who
}

// Several are users whom Make makes, NAME-0 and so on; what removes them may be called
// after an error too.
func Several(name string, n int) (all []Account, remove func() error, err error) {
	remove = func() (err error) {
		for _, a := range all {
			if failed := a.Remove(); failed != nil {
				err = errors.Join(err, fmt.Errorf("remove the users: %w", failed))
			}
		}
		return err
	}
	for k := range n {
		a, err := Make(fmt.Sprintf("%s-%d", name, k))
		if err != nil {
			return all, remove, fmt.Errorf("make a user: %w", err)
		}
		all = append(all, a)
	}
	return all, remove, nil
}

// Remove removes a user whom Make made, when the last of the processes has ended.
func (a Account) Remove() (err error) {
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
		if err = run("userdel", a.name); err == nil || !strings.Contains(err.Error(), "currently used") {
			return err
		}
	}
	return err
}

func run(words ...string) error {
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

// ranges is what subuid(5) and subgid(5) both give a user, 0 if they differ.
func ranges(name string) (first, count uint32, err error) {
	first, count, err = rangeOf("/etc/subuid", name)
	if err != nil {
		return 0, 0, err
	}
	a, n, err := rangeOf("/etc/subgid", name)
	if err != nil || a != first || n != count {
		return 0, 0, err
	}
	return first, count, nil
}

func rangeOf(path, name string) (first, count uint32, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if part := strings.Split(s.Text(), ":"); len(part) == 3 && part[0] == name {
			a, err1 := strconv.ParseUint(part[1], 10, 32)
			n, err2 := strconv.ParseUint(part[2], 10, 32)
			return uint32(a), uint32(n), errors.Join(err1, err2)
		}
	}
	return 0, 0, s.Err()
}

// Name is what programs print for the user.
func (a Account) Name() string {
	id := strconv.Itoa(int(a.UID))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// Switched reports whether the user is another one than who runs the test.
func (a Account) Switched() bool { return a.UID != uint32(os.Getuid()) }

// Prefix is the words before a command of a shell that make it the user's.
func (a Account) Prefix() string {
	if !a.Switched() {
		return ""
	}
	return fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups ", a.UID, a.GID)
}

// Credential is for starting a program as the user.
func (a Account) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.UID, Gid: a.GID}
}

// Owns reports whether an id of the host is the user's own or of the ranges.
func (a Account) Owns(id uint32) bool {
	return id == a.UID || id >= a.First && id-a.First < a.Count
}

// Processes are those that have an id of the account's, with their command lines, and have
// not ended.
func (a Account) Processes() (all []string) {
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), "\nState:\tZ") {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "\nUid:")
		line, _, _ := strings.Cut(rest, "\n")
		for _, word := range strings.Fields(line) {
			if id, err := strconv.ParseUint(word, 10, 32); err == nil && a.Owns(uint32(id)) {
				cmdline, _ := os.ReadFile(filepath.Dir(path) + "/cmdline")
				all = append(all, fmt.Sprintf("process %s %q", filepath.Base(filepath.Dir(path)), cmdline))
				break
			}
		}
	}
	return all
}

// Ended waits for the end of those, and tells which are left.
func (a Account) Ended(within time.Duration) error {
	left := a.Processes()
	for end := time.Now().Add(within); len(left) > 0 && time.Now().Before(end); left = a.Processes() {
		time.Sleep(50 * time.Millisecond) // each look asks all processes of the machine
	}
	if len(left) > 0 {
		return fmt.Errorf("left of the user's: %.1500q", left)
	}
	return nil
}

// KillHolder kills the process that keeps a user's namespace, which the holder's file names.
func KillHolder(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		return fmt.Errorf("the holder's file says %q", text)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// KillAll kills those, and what they start meanwhile; after a hundred rounds it gives up.
func (a Account) KillAll() {
	for range 100 {
		left := a.Processes()
		for _, one := range left {
			var pid int
			if _, err := fmt.Sscanf(one, "process %d", &pid); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Give makes everything below the folder the user's.
func (a Account) Give(dir string) error {
	if !a.Switched() {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.UID), int(a.GID))
	})
}

// Open lets everybody into a folder of a test and those above it.
func Open(dir string) error {
	for p := dir; strings.HasPrefix(p, os.TempDir()+"/"); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Copy puts a program where every user gets: the checkout may not be. Beside it goes what
// it starts from there, the way out of users' networks.
func Copy(program, dir string) (string, error) {
	beside := filepath.Join(filepath.Dir(program), "berth-uplink")
	if _, err := os.Stat(beside); err == nil && beside != program {
		if _, err := Copy(beside, dir); err != nil {
			return "", err
		}
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(program))
	if err := writeProgram(to, data); err != nil {
		return "", err
	}
	return to, Open(dir)
}

// writeProgram lets no child begin meanwhile. Nobody may start a file that is open for
// writing, and a child that another goroutine starts has it open until its execve(2):
// ETXTBSY.
func writeProgram(path string, data []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, data, 0o755)
}

// Link makes the program answer to a name in a folder, for another user through
// setpriv(1).
func (a Account) Link(program, dir, name string) error {
	path := filepath.Join(dir, name)
	if !a.Switched() {
		return os.Symlink(program, path)
	}
	inner := filepath.Join(dir, "as", name)
	if err := os.MkdirAll(filepath.Dir(inner), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(program, inner); err != nil {
		return err
	}
	return writeProgram(path, []byte("#!/bin/sh\nexec "+a.Prefix()+inner+" \"$@\"\n"))
}
