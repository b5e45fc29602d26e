package cgroup

import (
	"os"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// as runs f on a thread of its own with the file system rights of uid.
func as(t *testing.T, uid int, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with f
		// The raw call changes this thread alone; dropping fsuid takes the
		// capabilities that override file permissions with it.
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); e != 0 {
			done <- e
			return
		}
		done <- f()
	}()
	return <-done
}

// An ordinary user in a delegated v2 subtree gets limits by cgroupfs, too. Run
// by the user in the test guest.
func TestDelegatedUser(t *testing.T) {
	l, err := Detect()
	if err != nil || l.Mode != V2 || os.Getuid() == 0 {
		t.Skip("cgroup layout that this kernel lacks: v2, delegated to an ordinary user who runs the test")
	}
	defer l.Close()
	c, err := New(l, Config{ID: "berth-test-delegated", Rootless: true, DefaultDevices: true, Resources: &specs.LinuxResources{
		Pids: &specs.LinuxPids{Limit: ptr(int64(17))}, Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib))}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if c.Skipped() != "" {
		t.Fatalf("no cgroup: %s", c.Skipped())
	}
	for file, want := range map[string]string{"pids.max": "17", "memory.max": "67108864"} {
		if got := c.file(t, "", file); got != want {
			t.Errorf("%s = %s, want %s", file, got, want)
		}
	}
	if out, code := output(t, c, "cat /proc/self/cgroup"); code != 0 || !strings.HasSuffix(out, "/berth-test-delegated") {
		t.Errorf("inside: %s, %d", out, code)
	}
	// Where nothing is delegated: why, in one line, or none without limits.
	for _, limit := range []bool{true, false} {
		cfg := Config{ID: "x", Path: "/system.slice/berth-test", Rootless: true}
		if limit {
			cfg.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(17))}}
		}
		c, err := New(l, cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Create(t.Context(), 0)
		if limit && (err == nil || !strings.HasPrefix(err.Error(), "linux.resources.pids.limit: "+needDelegation)) {
			t.Errorf("Create = %v", err)
		}
		if !limit && (err != nil || c.Skipped() == "") {
			t.Errorf("Create = %v, Skipped %q", err, c.Skipped())
		}
	}
}
