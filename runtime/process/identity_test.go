package process_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/caps"
)

const status = `grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\t ' ' ' | sed 's/ $//'`

func TestRootWithoutCapabilities(t *testing.T) {
	tr := trial{spec: newSpec(), script: status}
	tr.run(t).want(t, "Uid: 0 0 0 0", "Groups:", "CapBnd: 0000000000000000", "CapPrm: 0000000000000000",
		"CapEff: 0000000000000000", "CapInh: 0000000000000000", "CapAmb: 0000000000000000", "NoNewPrivs: 0", "Seccomp: 0")
}

func TestUserGroupsCapabilities(t *testing.T) {
	s := newSpec()
	s.Process.User = specs.User{UID: 1234, GID: 567, AdditionalGids: []uint32{10, 4242}}
	s.Process.NoNewPrivileges = true
	list := []string{"CAP_CHOWN", "CAP_KILL"}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
	tr := trial{spec: s, script: status}
	// The kernel gives a user who is not root nothing across execve.
	tr.run(t).want(t, "Uid: 1234 1234 1234 1234", "Gid: 567 567 567 567", "Groups: 10 4242",
		"CapBnd: 0000000000000021", "CapPrm: 0000000000000000", "CapEff: 0000000000000000",
		"CapInh: 0000000000000000", "CapAmb: 0000000000000000", "NoNewPrivs: 1")

	s.Process.Capabilities.Inheritable = list
	s.Process.Capabilities.Ambient = []string{"CAP_KILL"}
	tr.run(t).want(t, "CapPrm: 0000000000000020", "CapEff: 0000000000000020",
		"CapInh: 0000000000000021", "CapAmb: 0000000000000020")
}

// V18: what the spec does not name as inheritable or ambient is not.
func TestInheritableStaysEmpty(t *testing.T) {
	s := newSpec()
	list := []string{"CAP_CHOWN", "CAP_NET_RAW"}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
	tr := trial{spec: s, script: status}
	o := tr.run(t)
	o.want(t, "CapPrm: 0000000000002001", "CapEff: 0000000000002001", "CapInh: 0000000000000000", "CapAmb: 0000000000000000")
}

func TestUnknownAndUnheldCapabilities(t *testing.T) {
	needRoot(t)
	s := newSpec()
	list := []string{"CAP_CHOWN", "CAP_MADE_UP"}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: list, Permitted: list, Effective: list, Ambient: []string{"CAP_CHOWN"}}
	var warned []string
	tr := trial{spec: s, script: status}
	tr.options.Warn = func(_ string, args ...any) { warned = append(warned, args[0].(string)) }
	o := tr.run(t)
	o.want(t, "CapPrm: 0000000000000001", "CapAmb: 0000000000000000")
	if len(warned) != 1 || warned[0] != "CAP_MADE_UP" {
		t.Errorf("warned of %q", warned)
	}
	if len(o.warns) != 1 || !strings.Contains(o.warns[0], "CAP_CHOWN") {
		t.Errorf("helper warned of %q", o.warns)
	}

	// What the caller does not have it cannot give: logged, not an error.
	held := heldCaps(t)
	missing := -1
	for n := 0; n <= caps.Last(); n++ {
		if held&(1<<n) == 0 {
			missing = n
		}
	}
	if missing < 0 {
		t.Log("root holds every capability here")
		return
	}
	name := caps.Name(missing)
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{name}, Permitted: []string{name}, Effective: []string{name}}
	o = tr.run(t)
	o.want(t, "CapPrm: 0000000000000000")
	if len(o.warns) != 1 || !strings.Contains(o.warns[0], name) {
		t.Errorf("helper warned of %q", o.warns)
	}
}

func heldCaps(t *testing.T) uint64 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&hdr, &d[0]); err != nil {
		t.Fatal(err)
	}
	return uint64(d[1].Permitted)<<32 | uint64(d[0].Permitted)
}

func inUserNamespace(size uint32) (*specs.Spec, trial) {
	s := newSpec()
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: size}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
	tr := trial{spec: s, script: status}
	tr.options.Namespaces = with(0, specs.UserNamespace)
	return s, tr
}

func TestUserNamespace(t *testing.T) {
	s, tr := inUserNamespace(65536)
	s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5}}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}}
	tr.run(t).want(t, "Uid: 1000 1000 1000 1000", "Groups: 5", "CapBnd: 0000000000000001")

	s.Process.User = specs.User{UID: 70000}
	tr.run(t).refused(t, "become user 70000 group 0", "not mapped in the container's user namespace")
	s.Process.User = specs.User{GID: 70000}
	tr.run(t).refused(t, "group 70000 is not mapped")
	s.Process.User = specs.User{AdditionalGids: []uint32{70000}}
	tr.run(t).refused(t, "additional groups")
}

func TestSetgroupsDenied(t *testing.T) {
	needRoot(t)
	s, tr := inUserNamespace(1)
	// What an ordinary user's namespace with one id is like.
	tr.deny = true
	o := tr.run(t)
	o.want(t, "Uid: 0 0 0 0")
	s.Process.User.AdditionalGids = []uint32{0}
	tr.run(t).refused(t, "additional groups cannot be set: setgroups is denied")
}

// V12: -1 means "leave the id" to the kernel; the process would stay root.
func TestNoIDIsRefused(t *testing.T) {
	for _, tc := range []struct {
		user  specs.User
		field string
	}{
		{specs.User{UID: 1<<32 - 1}, "process.user.uid"},
		{specs.User{GID: 1<<32 - 1}, "process.user.gid"},
		{specs.User{AdditionalGids: []uint32{1, 1<<32 - 1}}, "process.user.additionalGids"},
		{specs.User{Umask: ptr(uint32(0o1000))}, "process.user.umask"},
	} {
		s := newSpec()
		s.Process.User = tc.user
		tr := trial{spec: s}
		if _, err := tr.phases(); err == nil || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("%+v: %v", tc.user, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestStdioIsGiven(t *testing.T) {
	needRoot(t)
	f, err := os.CreateTemp(t.TempDir(), "in")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newSpec()
	s.Process.User = specs.User{UID: 1234}
	tr := trial{spec: s, stdin: f, script: `stat -L -c 'in %u' /dev/stdin; echo again > /dev/stdout; stat -c 'null %u' /dev/null`}
	var null unix.Stat_t
	if err := unix.Stat(os.DevNull, &null); err != nil {
		t.Fatal(err)
	}
	tr.run(t).want(t, "in 1234", "again", fmt.Sprintf("null %d", null.Uid))
}

func TestUmask(t *testing.T) {
	s := newSpec()
	s.Process.User.Umask = ptr(uint32(0o137))
	(&trial{spec: s, script: "umask"}).run(t).want(t, "0137")

	// The caller's own is not the container's.
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s.Process.User.Umask = nil
	(&trial{spec: s, script: "umask"}).run(t).want(t, "0022")
}
