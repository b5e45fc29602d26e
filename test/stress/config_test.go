package stress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
)

// badInput is how long a refusal may take: 5 s is the promise, and machines are slow that
// have other work, or three times as many page faults to pay for.
const badInput = 15 * time.Second

// refused checks what every refusal must be: in time, with a code, one line,
// naming what is wrong, and without a trace.
func refused(t *testing.T, rt *bundle.Runtime, res bundle.Result, id, names string) {
	t.Helper()
	if res.Code <= 0 || res.Duration > badInput {
		t.Errorf("want a refusal within %s: %s", badInput, clip(res.String()))
		return
	}
	if n := strings.Count(strings.TrimRight(res.Stderr, "\n"), "\n"); n != 0 || res.Stderr == "" || len(res.Stderr) > 2000 {
		t.Errorf("want one line of error, got %d of %d bytes: %s", n+1, len(res.Stderr), clip(res.String()))
	}
	// The test's own name in a path tells nothing.
	said := regexp.MustCompile(regexp.QuoteMeta(os.TempDir())+"/Test[^/]*").ReplaceAllString(res.Stderr, "")
	if !regexp.MustCompile(names).MatchString(said) {
		t.Errorf("the error must name %q: %s", names, clip(res.Stderr))
	}
	if id == "" {
		return
	}
	if _, err := os.Lstat(filepath.Join(rt.Root, id)); err == nil {
		t.Errorf("its state folder is left")
	}
}

func clip(s string) string {
	if len(s) > 1500 {
		return s[:1500] + "…"
	}
	return s
}

// field is one change to a good configuration that makes it a bad one.
type field struct {
	path  string // in config.json, dots between, a number for a list's element, + to append
	value string // JSON; empty takes the field out
	names string // what the error must say
}

// text returns the JSON text of a string.
func text(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func repeated(n int, s string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]"
}

func badFields() []field {
	long := strings.Repeat("x", 1<<20)
	return []field{
		{"ociVersion", "", "ociVersion"}, {"ociVersion", `"9.0.0"`, "ociVersion|9.0.0"}, {"ociVersion", `"x"`, "ociVersion"},
		{"ociVersion", `7`, "ociVersion"}, {"process", "", "process"}, {"process", `[]`, "process"}, {"root", "", "root"},
		{"root.path", `""`, "root"}, {"root.path", `"nowhere"`, "nowhere"}, {"root.path", `"config.json"`, "root|config.json"},
		{"root.path", text("a\x00b"), "root"}, {"process.args", "", "args"}, {"process.args", `[]`, "args"},
		{"process.args", `[""]`, "args|exec"}, {"process.args", `["a\u0000b"]`, "args"}, {"process.args", `"sh"`, "args"},
		{"process.cwd", `"relative"`, "cwd"}, {"process.cwd", `""`, "cwd"}, {"process.cwd", text("/" + long), "cwd"},
		{"process.cwd", text("/a\x00b"), "cwd"}, {"process.env", `["A=b\u0000c"]`, "env"}, {"process.env", `{"A": "b"}`, "env"},
		{"process.user.uid", `-1`, "uid"}, {"process.user.uid", `4294967296`, "uid"}, {"process.user.uid", `4294967295`, "uid"},
		{"process.user.gid", `4294967295`, "gid"}, {"process.user.additionalGids", `[4294967295]`, "(?i)gid"},
		{"process.user.uid", `"root"`, "uid"}, {"process.rlimits", `[{"type": "X", "soft": 1, "hard": 1}]`, "rlimits|X"},
		{"process.rlimits", `[{"type": "RLIMIT_CORE", "soft": -1, "hard": 1}]`, "rlimits|soft"},
		{"process.oomScoreAdj", `5000`, "(?i)oomScoreAdj"}, {"process.oomScoreAdj", `1e99`, "(?i)oomScoreAdj"},
		{"process.scheduler", `{"policy": "SCHED_NONE"}`, "scheduler|SCHED_NONE"}, {"process.scheduler", `{"policy": "SCHED_OTHER", "nice": 99}`, "scheduler|nice"},
		{"process.ioPriority", `{"class": "X", "priority": 1}`, "ioPriority|X"},
		{"process.ioPriority", `{"class": "IOPRIO_CLASS_BE", "priority": 99}`, "ioPriority|priority"},
		{"process.capabilities", `"all"`, "capabilities"}, {"process.apparmorProfile", text("a\nb"), "(?i)apparmor"},
		{"process.apparmorProfile", `"no-such-profile"`, "(?i)apparmor"}, {"process.selinuxLabel", `"a:b:c:d"`, "(?i)selinux"},
		{"hostname", text(strings.Repeat("h", 300)), "hostname"}, {"hostname", text("a\x00b"), "hostname"},
		{"domainname", text(strings.Repeat("h", 300)), "domainname"},
		{"mounts.+", `{"destination": ""}`, "mounts"}, {"mounts.+", `{"destination": "/m", "type": "nosuchfs"}`, "nosuchfs"},
		{"mounts.+", `{"destination": "/m", "type": "bind", "source": "/no-such-place", "options": ["bind"]}`, "/no-such-place"},
		{"mounts.+", `{"destination": "/m\u0000x", "type": "tmpfs"}`, "mounts"}, {"mounts.+", `{"destination": ` + text("/"+long) + `, "type": "tmpfs"}`, "mounts"},
		{"mounts.+", `{"destination": "/m", "type": "tmpfs", "options": ["size=nonsense"]}`, "/m|mounts"},
		{"mounts.+", `{"destination": "/m", "type": "tmpfs", "options": ["a\u0000b"]}`, "mounts|/m"},
		{"mounts.+", `{"destination": "/m", "type": "bind", "options": ["bind"]}`, "mounts|/m"}, {"mounts", `"none"`, "mounts"},
		{"mounts.+", `{"destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]}`, "mounts|/m"},
		{"hooks", `{"createRuntime": [{"path": "relative"}]}`, "hook"}, {"hooks", `{"createRuntime": [{"path": "/no-such-place"}]}`, "hook|/no-such-place"},
		{"hooks", `{"createRuntime": [{"path": "/bin/true", "timeout": -1}]}`, "timeout"}, {"hooks", `[]`, "hooks"},
		{"linux.namespaces.+", `{"type": "nonsense"}`, "namespaces|nonsense"}, {"linux.namespaces.+", `{"type": "pid"}`, "namespaces|pid"},
		{"linux.namespaces.+", `{"type": "time", "path": "/no-such-place"}`, "namespaces|/no-such-place"},
		{"linux.namespaces", `[]`, "namespaces|mount"}, {"linux.uidMappings", `[{"containerID": 0, "hostID": 0, "size": 0}]`, "uidMappings"},
		{"linux.namespaces.+", `{"type": "user"}`, "(?i)mappings"}, {"linux.uidMappings", repeated(400, `{"containerID": 0, "hostID": 0, "size": 1}`), "uidMappings"},
		{"linux.devices", `[{"path": "/dev/x", "type": "z"}]`, "devices"}, {"linux.devices", `[{"path": "", "type": "c"}]`, "devices"},
		{"linux.devices", `[{"path": "/dev/x", "type": "c", "major": -5, "minor": 99999999999}]`, "devices"},
		{"linux.sysctl", `{"kernel.panic": "1"}`, "sysctl"}, {"linux.sysctl", `{"": "1"}`, "sysctl"}, {"linux.sysctl", `{"net.ipv4.ip_forward": "1\n2"}`, "sysctl"},
		{"linux.sysctl", `{"net.ipv4.none": "1"}`, "sysctl|none"}, {"linux.sysctl", `{"net.ipv4.ip_forward": ` + text(long) + `}`, "sysctl"},
		{"linux.resources.memory", `{"limit": -5}`, "memory"}, {"linux.resources.memory", `{"limit": 1}`, "memory|limit"}, {"linux.resources.memory", `{"limit": "1g"}`, "memory|limit"},
		{"linux.resources.cpu", `{"cpus": "abc"}`, "cpu"}, {"linux.resources.cpu", `{"cpus": "0-99999"}`, "cpu"}, {"linux.resources.cpu", `{"period": 5, "quota": 1}`, "cpu"},
		{"linux.resources.pids", `{"limit": "many"}`, "pids"}, {"linux.resources.devices", `[{"allow": true, "access": "xyz"}]`, "devices|access"},
		{"linux.resources.devices", `[{"allow": true, "type": "q", "access": "r"}]`, "devices|type"}, {"linux.resources.hugepageLimits", `[{"pageSize": "3KB", "limit": 1}]`, "(?i)huge"},
		{"linux.resources.blockIO", `{"weight": 5}`, "(?i)blockIO|weight"}, {"linux.cgroupsPath", text("/a\x00b"), "cgroupsPath"},
		{"linux.cgroupsPath", text("/" + long), "cgroupsPath"}, {"linux.cgroupsPath", text("/a\nb"), "cgroupsPath"},
		{"linux.seccomp", `{"defaultAction": "X"}`, "seccomp|defaultAction"}, {"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}`, "seccomp|architectures"},
		{"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "X"}]}`, "seccomp|action"},
		{"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`, "seccomp|index"},
		{"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 1, "op": "X"}]}]}`, "seccomp|op"},
		{"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}`, "seccomp|flags"}, {"linux.seccomp", `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no-such-place", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}`, "seccomp|/no-such-place"},
		{"linux.rootfsPropagation", `"sideways"`, "(?i)propagation"}, {"linux.maskedPaths", `[""]`, "maskedPaths"}, {"linux.maskedPaths", `["/a\u0000b"]`, "maskedPaths"},
		{"linux.readonlyPaths", `["/"]`, "readonlyPaths"}, {"linux.personality", `{"domain": "VMS"}`, "personality|VMS"},
		{"linux.timeOffsets", `{"sideways": {"secs": 1}}`, "timeOffsets|sideways"}, {"linux.timeOffsets", `{"monotonic": {"secs": 1}}`, "timeOffsets|time"},
		{"linux.intelRdt", `{"closID": "../x"}`, "(?i)rdt"}, {"linux", "", "linux|namespace"},
	}
}

// change sets one field in generic JSON.
func change(doc any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "+" {
		list, _ := doc.([]any)
		return append(list, value)
	}
	m, ok := doc.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	if value == nil && len(path) == 1 {
		delete(m, path[0])
	} else {
		m[path[0]] = change(m[path[0]], path[1:], value)
	}
	return m
}

// TestBadFields changes one field at a time.
func TestBadFields(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t)
	for i, f := range badFields() {
		t.Run(fmt.Sprintf("%d-%s", i, f.path), func(t *testing.T) {
			leak.Check(t, rt.Root)
			b.Write(t)
			good, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			var doc, value any
			dec := json.NewDecoder(bytes.NewReader(good))
			dec.UseNumber()
			if err := dec.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			if f.value != "" {
				dec = json.NewDecoder(strings.NewReader(f.value))
				dec.UseNumber()
				if err := dec.Decode(&value); err != nil {
					t.Fatalf("%s: %v", f.value, err)
				}
			}
			data, err := json.Marshal(change(doc, strings.Split(f.path, "."), value))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(b.Dir, "config.json"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			id := rt.NewID()
			refused(t, rt, rt.Do("run", "--bundle", b.Dir, id), id, f.names)
		})
	}
}

// TestBadConfigFiles puts something else in config.json's place.
func TestBadConfigFiles(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	good, err := json.Marshal(bundle.Default())
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) func(string) error {
		return func(path string) error { return os.WriteFile(path, data, 0o644) }
	}
	spaces := bytes.Repeat([]byte(" "), 64<<20)
	for name, make := range map[string]func(path string) error{
		"missing": func(string) error { return nil }, "empty": write(nil), "zeros": write(spaces[:0:0]),
		"no-json": write([]byte("hello\x00\xff")), "cut": write(good[:len(good)/2]), "list": write([]byte("[]")), "null": write([]byte("null")),
		"two":     write(append(append([]byte{}, good...), good...)),
		"deep":    write([]byte(strings.Repeat(`{"a":`, 2_000_000))),
		"deeper":  write([]byte(strings.Repeat(`[`, 8_000_000))),
		"huge":    write(append(spaces, good...)),
		"many":    write([]byte(`{"ociVersion":"1.0.2","mounts":` + repeated(400_000, `{"destination":"/x"}`) + `}`)),
		"binary":  write(bytes.Repeat([]byte{0xff, 0xfe, 0}, 1<<20)),
		"fifo":    func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"folder":  func(path string) error { return os.Mkdir(path, 0o755) },
		"loop":    func(path string) error { return os.Symlink("config.json", path) },
		"endless": func(path string) error { return os.Symlink("/dev/zero", path) },
		"socket":  func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o644, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t, rt.Root)
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := make(filepath.Join(dir, "config.json")); err != nil {
				t.Fatal(err)
			}
			for _, verb := range []string{"run", "create"} {
				id := rt.NewID()
				refused(t, rt, rt.Do(verb, "--bundle", dir, id), id, "config.json|ociVersion|process|mounts|root|JSON")
			}
		})
	}
}
