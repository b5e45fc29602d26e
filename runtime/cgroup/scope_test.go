package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The systemd driver against a real systemd: as root, or as a user with a
// session.
func TestScope(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("cgroup layout that this kernel lacks: no systemd runs here")
	}
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	user, slice := os.Getuid() != 0, "berthtest.slice"
	if user && l.Mode != V2 {
		t.Skip("cgroup layout: without v2 a user's systemd delegates no cgroups")
	}
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	c, err := New(l, Config{ID: "x", Systemd: true, Rootless: user, Path: fmt.Sprintf("%s:berth-test:%d", slice, os.Getpid()), DefaultDevices: true,
		Annotations: map[string]string{"org.systemd.property.TimeoutStopSec": "3"},
		Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(64 * mib))},
			CPU: &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(25500)), Period: ptr(uint64(100000))}, Pids: &specs.LinuxPids{Limit: ptr(int64(30))}}})
	if err != nil {
		t.Fatal(err)
	}
	if !c.NeedsPID() {
		t.Error("the systemd driver needs no process?")
	}
	unitName := c.State().Unit
	show := func(prop string) string { return systemctl(user, "show", "-P", prop, unitName) }
	if err := c.Create(t.Context(), child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Remove(context.Background()) }()
	if pids, err := c.PIDs(true); err != nil || len(pids) != 1 || pids[0] != child.Process.Pid {
		t.Errorf("PIDs = %v, %v", pids, err)
	}
	limit, file := "MemoryMax", "memory.max"
	if l.Mode != V2 {
		limit, file = "MemoryLimit", "memory.limit_in_bytes"
	}
	check := func(want string) {
		t.Helper()
		if got := show(limit); got != want {
			t.Errorf("%s = %s, want %s", limit, got, want)
		}
		if got := c.file(t, "memory", file); got != want {
			t.Errorf("%s = %s, want %s", file, got, want)
		}
	}
	check("67108864")
	for prop, want := range map[string]string{"TasksMax": "30", "TimeoutStopUSec": "3s", "Delegate": "yes", "Slice": slice, "CPUQuotaPerSecUSec": "260ms"} {
		if got := show(prop); got != want {
			t.Errorf("%s = %s, want %s", prop, got, want)
		}
	}
	if !user {
		if got := show("DevicePolicy"); got != "strict" {
			t.Errorf("DevicePolicy = %s", got)
		}
	}
	testScopeLater(t, l, c.State(), check, show)
}

// testScopeLater is what other commands do with the container.
func testScopeLater(t *testing.T, l *Layout, s State, check func(string), show func(string) string) {
	again, err := Open(l, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Update(t.Context(), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(128 * mib)), Swap: ptr(int64(128 * mib))}}, false); err != nil {
		t.Error(err)
	}
	check("134217728")
	systemctl(s.User, "daemon-reload") // writes all that systemd knows again
	check("134217728")
	if err := again.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := again.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if got := show("LoadState"); got != "not-found" {
		t.Errorf("the unit is %s after Remove", got)
	}
	if again.Exists() {
		t.Error("directories are left")
	}
	if err := again.Remove(t.Context()); err != nil {
		t.Errorf("Remove of what is gone = %v", err)
	}
}

// systemctl asks the machine's manager or the user's.
func systemctl(user bool, args ...string) string {
	if user {
		args = append([]string{"--user"}, args...)
	}
	b, _ := exec.Command("systemctl", args...).Output()
	return strings.TrimSpace(string(b))
}
