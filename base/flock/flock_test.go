package flock_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/base/flock"
)

// As a child process the test binary adds 1 to a counter file many times, each
// time under the lock, and removes the lock file every third time.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FLOCK_TEST_COUNTER"); dir != "" {
		if err := count(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const rounds = 100

func count(dir string) error {
	for i := range rounds {
		l, err := flock.Lock(filepath.Join(dir, "lock"))
		if err != nil {
			return err
		}
		counter := filepath.Join(dir, "counter")
		b, err := os.ReadFile(counter)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			return err
		}
		if err := os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			return err
		}
		leave := l.Unlock
		if i%3 == 0 {
			leave = l.Remove
		}
		if err := leave(); err != nil {
			return err
		}
	}
	return nil
}

func TestProcessesExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "counter"), []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	const processes = 4
	var running []*exec.Cmd
	for range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FLOCK_TEST_COUNTER="+dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "counter"))
	if got := string(b); err != nil || got != strconv.Itoa(processes*rounds) {
		t.Errorf("counter = %s, want %d: two processes held the lock at once (%v)", got, processes*rounds, err)
	}
}

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := flock.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flock.TryLock(path); !fault.Is(err, fault.Busy) {
		t.Errorf("held: %v, want kind Busy", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Errorf("second Unlock: %v", err)
	}
	again, err := flock.TryLock(path)
	if err != nil {
		t.Fatalf("free: %v", err)
	}
	if err := again.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there after Remove: %v", err)
	}
}

// A waiter that wakes up on a removed file must not believe that it holds the
// lock: another may hold the new one.
func TestWaiterChecksInode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := flock.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *flock.Held, 1)
	go func() {
		l, err := flock.Lock(path)
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	waitBlocked(t, path)
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	l := <-got
	if l == nil {
		t.Fatal("no lock")
	}
	defer l.Unlock()
	if _, err := flock.TryLock(path); !fault.Is(err, fault.Busy) {
		t.Errorf("the waiter holds a lock on a file that is gone: %v", err)
	}
}

// waitBlocked returns once the kernel lists a waiter ("->") on the lock file
// (proc_locks(5)).
func waitBlocked(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	for range 500 {
		b, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "->") && strings.Contains(line, inode) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the second Lock never waited")
}

// What a holder wrote is there for whoever finds the lock free.
func TestNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := flock.TryFound(path); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing: %v, want kind NotFound", err)
	}
	l, err := flock.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a long text", "short", ""} {
		if err := l.Note([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("in the file: %q, %v; want %q", b, err, text)
		}
	}
	if _, err := flock.TryFound(path); !fault.Is(err, fault.Busy) {
		t.Errorf("held: %v, want kind Busy", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	found, err := flock.TryFound(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestSymlinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := flock.Lock(path); !fault.Is(err, fault.Invalid) {
		t.Errorf("symlink: %v, want kind Invalid", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the link was followed")
	}
}

func TestSharedHoldersKeepTheExclusiveOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var held []*flock.Held
	for range 2 {
		l, err := flock.Shared(path)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	for _, l := range held {
		if _, err := flock.TryLock(path); !fault.Is(err, fault.Busy) {
			t.Fatalf("exclusive beside a shared holder: %v", err)
		}
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := flock.TryLock(path)
	if err != nil {
		t.Fatalf("exclusive after the last shared holder left: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}
