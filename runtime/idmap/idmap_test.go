package idmap

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/namespace"
)

type list = []specs.LinuxIDMapping

func TestCheck(t *testing.T) {
	many := make(list, MaxLines+1)
	for i := range many {
		many[i] = specs.LinuxIDMapping{ContainerID: uint32(i), HostID: uint32(i), Size: 1}
	}
	for _, tc := range []struct {
		name string
		in   list
		want string // empty: fine
	}{
		{"none", nil, ""},
		{"usual", list{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}, ""},
		{"340 lines", many[:MaxLines], ""},
		{"last id", list{{ContainerID: 0, HostID: math.MaxUint32 - 1, Size: 1}}, ""},
		{"341 lines", many, "field: 341 mappings, the kernel takes 340"},
		{"size 0", list{{}}, "field[0].size: must not be 0"},
		{"host past the end", list{{HostID: math.MaxUint32, Size: 1}}, "field[0].hostID: "},
		{"container past the end", list{{ContainerID: 2, Size: math.MaxUint32}}, "field[0].containerID: "},
		{"container overlap", list{{ContainerID: 0, HostID: 0, Size: 10}, {ContainerID: 9, HostID: 100, Size: 1}}, "field[1].containerID: overlaps with mapping 0"},
		{"host overlap", list{{ContainerID: 20, HostID: 5, Size: 10}, {ContainerID: 0, HostID: 0, Size: 6}}, "field[1].hostID: overlaps with mapping 0"},
	} {
		err := Check("field", tc.in)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func parse(t *testing.T, nss ...specs.LinuxNamespace) namespace.Set {
	t.Helper()
	s, err := namespace.Parse(nss)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFromSpec(t *testing.T) {
	own := parse(t, specs.LinuxNamespace{Type: specs.UserNamespace})
	joined := parse(t, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/self/ns/user"})
	m := list{{ContainerID: 0, HostID: 1, Size: 1}}
	off := list{{ContainerID: 1, HostID: 70001, Size: 1}}
	self := func(own int) list { return list{{ContainerID: 7, HostID: uint32(own), Size: 1}} }
	for _, tc := range []struct {
		name string
		in   *specs.Linux
		ns   namespace.Set
		maps bool
		want string
	}{
		{"own", &specs.Linux{UIDMappings: m, GIDMappings: m}, own, true, ""},
		{"joined", &specs.Linux{}, joined, false, ""},
		{"joined, with maps", &specs.Linux{UIDMappings: m, GIDMappings: m}, joined, false, ""},
		{"none", &specs.Linux{}, namespace.Set{}, false, ""},
		{"maps without namespace", &specs.Linux{UIDMappings: m}, namespace.Set{}, false, "need a user namespace"},
		{"namespace without maps", &specs.Linux{}, own, false, "linux.uidMappings: a user namespace is asked for"},
		{"no group map", &specs.Linux{UIDMappings: m}, own, false, "linux.gidMappings: a user namespace"},
		{"no root", &specs.Linux{UIDMappings: m, GIDMappings: off}, own, false, "linux.gidMappings: neither container id 0 nor id "},
		{"the caller alone", &specs.Linux{UIDMappings: self(os.Geteuid()), GIDMappings: self(os.Getegid())}, own, true, ""},
		{"bad map", &specs.Linux{UIDMappings: list{{}}}, own, false, "linux.uidMappings[0].size"},
	} {
		maps, err := FromSpec(tc.in, tc.ns)
		if (maps != nil) != tc.maps {
			t.Errorf("%s: %+v", tc.name, maps)
		}
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestHostAndExtend(t *testing.T) {
	m := Extend(&Maps{UID: list{{HostID: 1000, Size: 1}}, GID: list{{HostID: 1000, Size: 1}}},
		[]Range{{100000, 65536}, {100005, 3}, {500000, 10}}, nil)
	want := list{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}, {ContainerID: 65537, HostID: 500000, Size: 10}}
	if !slices.Equal(m.UID, want) || len(m.GID) != 1 {
		t.Errorf("%+v", m)
	}
	for id, host := range map[uint32]uint32{0: 1000, 1: 100000, 65536: 165535, 65537: 500000, 65546: 500009} {
		if got, ok := Host(m.UID, id); !ok || got != host {
			t.Errorf("%d is %d, %v", id, got, ok)
		}
	}
	if _, ok := Host(m.UID, 65547); ok {
		t.Error("65547 is mapped")
	}
}

// child starts a process in a new user namespace without maps. cred is nil for
// root's own.
func child(t *testing.T, cred *syscall.Credential) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Credential: cred}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes user namespaces and becomes other users")
	}
}

func TestWriteAsRoot(t *testing.T) {
	needRoot(t)
	pid := child(t, nil)
	m := &Maps{
		UID: list{{ContainerID: 0, HostID: 100000, Size: 65536}, {ContainerID: 70000, HostID: 7, Size: 1}},
		GID: list{{ContainerID: 0, HostID: 200000, Size: 10}},
	}
	if err := m.Write(pid); err != nil {
		t.Fatal(err)
	}
	got, err := Read(pid)
	if err != nil || !slices.Equal(got.UID, m.UID) || !slices.Equal(got.GID, m.GID) {
		t.Errorf("%+v, %v", got, err)
	}
	if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", pid)); string(b) != "allow\n" {
		t.Errorf("setgroups: %q", b)
	}
	// The kernel takes a map once.
	if err := m.Write(pid); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("/proc/%d/uid_map", pid)) {
		t.Errorf("second time: %v", err)
	}
}

// TestAsUser is the child of TestWriteAsUser, run by another user.
func TestAsUser(t *testing.T) {
	want := os.Getenv("IDMAP_MAP")
	if want == "" {
		t.Skip("needs root: is run by TestWriteAsUser")
	}
	pid := child(t, nil)
	m := Self()
	switch want {
	case "ranges":
		uids, err1 := Subordinate("/etc/subuid", "nobody", uint32(os.Getuid()))
		gids, err2 := Subordinate("/etc/subgid", "nobody", uint32(os.Getuid()))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		m = Extend(m, uids, gids)
	case "foreign":
		m.UID = append(m.UID, specs.LinuxIDMapping{ContainerID: 1, HostID: 0, Size: 1})
	}
	err := m.Write(pid)
	if want == "foreign" {
		if !errors.Is(err, fault.Permission) && !errors.Is(err, fault.Unsupported) {
			t.Errorf("the host's root was mapped: %v", err)
		}
		t.Log(err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(pid)
	if err != nil || !slices.Equal(got.UID, m.UID) || !slices.Equal(got.GID, m.GID) {
		t.Errorf("%+v, %v, want %+v", got, err, m)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/setgroups")
	if deny := string(b) == "deny\n"; err != nil || deny != (want == "self") {
		t.Errorf("setgroups %q, %v", b, err)
	}
	fmt.Println("MAPPED", len(got.UID))
}

func TestWriteAsUser(t *testing.T) {
	needRoot(t)
	self := filepath.Join(t.TempDir(), "idmap.test")
	for p := filepath.Dir(self); strings.HasPrefix(p, os.TempDir()+"/"); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, b, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("newuidmap")
	for _, kind := range []string{"self", "foreign", "ranges"} {
		if kind == "ranges" && err != nil {
			t.Errorf("the package uidmap is missing: %v", err)
			continue
		}
		// The ranges are written to files of a private mount namespace.
		table := filepath.Join(t.TempDir(), "sub")
		if err := os.WriteFile(table, []byte("nobody:3000000:65536\nnobody:5000000:10\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", `
			[ -e /etc/subuid ] && [ -e /etc/subgid ] && mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid
			exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" '-test.run=^TestAsUser$' -test.v`, self, table)
		cmd.Dir = "/"
		cmd.Env = []string{"IDMAP_MAP=" + kind, "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/"}
		out, err := cmd.CombinedOutput()
		want := map[string]string{"self": "MAPPED 1\n", "ranges": "MAPPED 3\n", "foreign": "map ids with "}[kind]
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
}

func TestMissingMapper(t *testing.T) {
	err := runMapper("newuidmap-of-another-world", "/etc/subuid", os.Getpid(), nil)
	if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "install the package uidmap") {
		t.Errorf("%v", err)
	}
}

// TestMapperEnds tells a mapper that refuses from one that was killed: only the first says
// that the user may not.
func TestMapperEnds(t *testing.T) {
	for script, want := range map[string]error{"exit 1": fault.Permission, "kill -9 $$": fault.Unavailable} {
		err := unmapped("newuidmap", "/etc/subuid", []string{"7"}, "said", exec.Command("sh", "-c", script).Run())
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "map ids with newuidmap") {
			t.Errorf("%s: %v, wanted kind %v", script, err, want)
		}
	}
}

func TestMapTooLong(t *testing.T) {
	var m list
	for i := range uint32(MaxLines) {
		m = append(m, specs.LinuxIDMapping{ContainerID: 1000000 + i, HostID: 2000000 + i, Size: 1})
	}
	if err := writeMap(os.Getpid(), "uid_map", m); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestParseSubordinate(t *testing.T) {
	text := "# comment\nann:100000:65536\nbob:200000:65536\n1000:300000:10\nann:1:0\nann:x:1\nann:4294967295:2\nann:1:2:3\n:5:5\nann:400000:5\r\nann:4294967296:1\n"
	got, err := ParseSubordinate([]byte(text), "ann", 1000)
	if err != nil || !slices.Equal(got, []Range{{100000, 65536}, {300000, 10}, {400000, 5}}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseSubordinate([]byte(text), "", 7); err != nil || got != nil {
		t.Errorf("nobody has %v, %v", got, err)
	}
	if _, err := ParseSubordinate(bytes.Repeat([]byte("\n"), maxFileLines+1), "ann", 0); err == nil {
		t.Error("endless lines were read")
	}
	if _, err := ParseSubordinate(bytes.Repeat([]byte("ann:1:1\n"), maxUserRanges+1), "ann", 0); err == nil {
		t.Error("endless ranges were read")
	}
}

func TestSubordinateFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir, "/dev/zero"} {
		if _, err := Subordinate(path, "a", 1); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if r, err := Subordinate(filepath.Join(dir, "none"), "a", 1); r != nil || err != nil {
		t.Errorf("missing: %v, %v", r, err)
	}
}

func TestParseMap(t *testing.T) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ParseMap(b); err != nil || len(m) == 0 {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []string{"0 0", "a b c", "0 0 0", "0 0 4294967296", "-1 0 1", "0 0 10\n5 50 1", "1 2 3 4"} {
		if m, err := ParseMap([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, m)
		}
	}
}

func FuzzParseMap(f *testing.F) {
	f.Add([]byte("         0          0 4294967295\n"))
	f.Add([]byte("0 1000 1\n1 100000 65536\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMap(b)
		if err != nil {
			return
		}
		again, err := ParseMap(Format(m))
		if err != nil || !slices.Equal(m, again) {
			t.Errorf("%v, %v, %v", m, again, err)
		}
	})
}

func FuzzParseSubordinate(f *testing.F) {
	f.Add([]byte("ann:100000:65536\n1000:5:5\n"), "ann", uint32(1000))
	f.Fuzz(func(t *testing.T, b []byte, name string, id uint32) {
		ranges, err := ParseSubordinate(b, name, id)
		if err != nil {
			return
		}
		if err := Check("map", Extend(&Maps{}, ranges, nil).UID); err != nil {
			t.Error(err)
		}
	})
}
