package netdev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/namespace"
)

type devices = map[string]specs.LinuxNetDevice

func TestCheck(t *testing.T) {
	own, err := namespace.Parse([]specs.LinuxNamespace{{Type: specs.NetworkNamespace}})
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []devices{nil, {"eth1": {}}, {"eth1": {Name: "eth0"}, "eth2": {Name: "eth%d"}, "eth3": {Name: "eth%d"}}} {
		if err := Check(good, own); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	if err := Check(devices{"eth1": {}}, namespace.Set{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("without a namespace: %v", err)
	}
	for _, bad := range []devices{
		{"": {}}, {".": {}}, {"..": {}}, {"a/b": {}}, {"a:b": {}}, {"a b": {}}, {"a\nb": {}}, {"eth%d": {}}, {strings.Repeat("x", 16): {}},
		{"eth1": {Name: "a/b"}}, {"eth1": {Name: "%d%d"}}, {"eth1": {Name: "%s"}}, {"eth1": {Name: strings.Repeat("x", 16)}},
		{"eth1": {Name: "same"}, "eth2": {Name: "same"}}, {"eth1": {Name: "eth2"}, "eth2": {}},
	} {
		if err := Check(bad, own); !errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "linux.netDevices[") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// world is a pair of network namespaces: the test's thread is in the "host's".
type world struct {
	t         *testing.T
	container *os.File
	pid       int // of a process in it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces and devices")
	}
	// The thread ends with the test: it is never unlocked.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &world{t, ns, cmd.Process.Pid}
}

// ip runs ip(8) on the host's side.
func (w *world) ip(args ...string) string {
	w.t.Helper()
	return w.do("ip", args...)
}

// inside runs ip(8) in the container's namespace.
func (w *world) inside(args ...string) string {
	w.t.Helper()
	return w.do("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), w.container.Fd()), "ip"}, args...)...)
}

func (w *world) do(name string, args ...string) string {
	w.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func has(t *testing.T, where, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: no %q in\n%s", where, p, text)
		}
	}
}

func TestMove(t *testing.T) {
	w := newWorld(t)
	w.ip("link", "add", "dev0", "mtu", "1400", "type", "veth", "peer", "name", "peer0")
	w.ip("link", "set", "dev0", "up")
	w.ip("addr", "add", "192.0.2.7/24", "brd", "192.0.2.255", "dev", "dev0", "label", "dev0:x")
	w.ip("addr", "add", "2001:db8::7/64", "dev", "dev0", "nodad")
	w.ip("addr", "add", "169.254.3.3/16", "scope", "link", "dev", "dev0")
	w.ip("addr", "add", "192.0.2.99/24", "dev", "dev0", "valid_lft", "100", "preferred_lft", "100")
	w.ip("link", "add", "dev1", "type", "veth", "peer", "name", "peer1")
	w.ip("link", "add", "dev2", "type", "veth", "peer", "name", "peer2")
	w.ip("addr", "add", "198.51.100.1/32", "dev", "dev2")
	m, err := MoveInto(devices{"dev0": {}, "dev1": {Name: "inner"}, "dev2": {Name: "eth%d"}}, w.pid)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	dev0 := w.inside("addr", "show", "dev", "dev0")
	has(t, "dev0", dev0, "UP", "mtu 1400", "inet 192.0.2.7/24 brd 192.0.2.255 scope global dev0:x", "inet6 2001:db8::7/64 scope global", "valid_lft forever")
	for _, lost := range []string{"169.254.3.3", "192.0.2.99"} {
		if strings.Contains(dev0, lost) {
			t.Errorf("%s came along:\n%s", lost, dev0)
		}
	}
	has(t, "inner", w.inside("addr", "show", "dev", "inner"), "UP")
	has(t, "eth0", w.inside("addr", "show", "dev", "eth0"), "UP", "198.51.100.1/32")
	if left := w.ip("link"); strings.Contains(left, "dev") {
		t.Errorf("left on the host:\n%s", left)
	}
}

func TestFailureMovesBack(t *testing.T) {
	w := newWorld(t)
	w.ip("link", "add", "dev0", "type", "veth", "peer", "name", "peer0")
	w.ip("addr", "add", "192.0.2.7/24", "dev", "dev0")
	w.ip("link", "set", "dev0", "up")
	w.inside("link", "add", "taken", "type", "veth", "peer", "name", "other")
	before := w.inside("link")
	for _, tc := range []struct {
		d    devices
		want string
		kind fault.Kind
	}{
		{devices{"dev0": {Name: "renamed"}, "missing": {}}, "move network device missing into the container: there is no such device", fault.NotFound},
		{devices{"dev0": {Name: "taken"}}, "has a device taken already", fault.Exists},
		{devices{"dev0": {}, "lo": {Name: "lo2"}}, "move network device lo into the container", fault.Invalid},
	} {
		_, err := Move(tc.d, w.container)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", tc.d, err)
		}
		if tc.kind != fault.Invalid && !errors.Is(err, tc.kind) {
			t.Errorf("%v: %v is not %v", tc.d, err, tc.kind)
		}
		has(t, "dev0", w.ip("addr", "show", "dev", "dev0"), "UP", "192.0.2.7/24")
		if after := w.inside("link"); after != before {
			t.Errorf("%v: the container has\n%s", tc.d, after)
		}
	}
}

// A container that could not be made gives its devices back as they were, even
// when its process is gone.
func TestBack(t *testing.T) {
	w := newWorld(t)
	w.ip("link", "add", "dev0", "mtu", "1400", "type", "veth", "peer", "name", "peer0")
	w.ip("link", "set", "dev0", "up")
	w.ip("addr", "add", "192.0.2.7/24", "dev", "dev0", "label", "dev0:x")
	w.ip("link", "add", "dev1", "type", "veth", "peer", "name", "peer1")
	m, err := MoveInto(devices{"dev0": {Name: "eth0"}, "dev1": {Name: "eth%d"}}, w.pid)
	if err != nil {
		t.Fatal(err)
	}
	has(t, "inside", w.inside("addr", "show", "dev", "eth0"), "192.0.2.7/24")
	_ = unix.Kill(w.pid, unix.SIGKILL)
	w.container.Close()
	if err := m.Back(); err != nil {
		t.Error(err)
	}
	m.Close()
	has(t, "dev0", w.ip("addr", "show", "dev", "dev0"), "UP", "mtu 1400", "192.0.2.7/24", "dev0:x")
	if dev1 := w.ip("link", "show", "dev", "dev1"); strings.Contains(dev1, ",UP") {
		t.Errorf("dev1 was down:\n%s", dev1)
	}
	var none *Moved
	if none.Back() != nil {
		t.Error("nothing could not be undone")
	}
	none.Close()
}
