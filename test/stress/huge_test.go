package stress

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestHugeLists has far more of something than anybody wants, in a config.json
// that is not too large to be read: it is refused, soon, by name.
func TestHugeLists(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	for name, c := range map[string]struct {
		edit  func(s *specs.Spec)
		names string
	}{
		"mounts": {func(s *specs.Spec) {
			for i := range 100_000 {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprint("/tmp/m", i), Type: "tmpfs", Source: "x"})
			}
		}, "mounts"},
		"env": {func(s *specs.Spec) {
			for i := range 1_000_000 {
				s.Process.Env = append(s.Process.Env, fmt.Sprint("A", i, "="))
			}
		}, "config.json|env|exec|argument"},
		"args": {func(s *specs.Spec) {
			for range 2_000_000 {
				s.Process.Args = append(s.Process.Args, "x")
			}
		}, "config.json|args|exec|argument"},
		"seccomp": {func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
			for i := range 40_000 {
				s.Linux.Seccomp.Syscalls = append(s.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActErrno,
					Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(i) * uint64(i), Op: specs.OpEqualTo}}})
			}
		}, "linux.seccomp"},
		"maps": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			for i := range uint32(100_000) {
				s.Linux.UIDMappings = append(s.Linux.UIDMappings, specs.LinuxIDMapping{ContainerID: i, HostID: i, Size: 1})
			}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		}, "idMappings"},
		"groups": {func(s *specs.Spec) {
			for i := range uint32(500_000) {
				s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, i)
			}
		}, "(?i)additionalGids|group"},
		"device rules": {func(s *specs.Spec) {
			for i := range int64(100_000) {
				s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &i, Access: "r"})
			}
		}, "linux.resources.devices"},
		"sysctl": {func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{}
			for i := range 100_000 {
				s.Linux.Sysctl[fmt.Sprint("net.x", i)] = "1"
			}
		}, "sysctl"},
		"namespaces": {func(s *specs.Spec) {
			for range 100_000 {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
			}
		}, "namespaces"},
		"hooks": {func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{}
			for range 100_000 {
				s.Hooks.CreateContainer = append(s.Hooks.CreateContainer, specs.Hook{Path: "/no-such-place"})
			}
		}, "hook"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bundle.New(t, bundle.Args("/bin/true"), bundle.Edit(c.edit))
			id := rt.NewID()
			refused(t, rt, rt.Do("run", "--bundle", b.Dir, id), id, c.names)
			if left := traces(rt, b, id); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestWrongTypes gives each field of the top a value of each other type.
func TestWrongTypes(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	dir := t.TempDir()
	for _, field := range []string{"ociVersion", "process", "root", "hostname", "domainname", "mounts", "hooks", "annotations", "linux"} {
		for _, value := range []string{`7`, `true`, `"x"`, `[7]`, `{"a":7}`} {
			config := fmt.Sprintf(`{"ociVersion":"1.0.2","process":{"cwd":"/","args":["x"]},"root":{"path":"."},%q:%s}`, field, value)
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			id := rt.NewID()
			res := rt.Do("create", "--bundle", dir, id)
			// A value of the right type, or one with nothing wrong in it.
			names := field + "|ociVersion"
			if value == `"x"` && strings.HasSuffix(field, "name") || value == `{"a":7}` {
				names = "."
			}
			refused(t, rt, res, id, names)
		}
	}
}

// TestBadBundles has no folder where the bundle should be.
func TestBadBundles(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"missing": func(string) error { return nil },
		"file":    func(path string) error { return os.WriteFile(path, []byte("{}"), 0o644) },
		"fifo":    func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"loop":    func(path string) error { return os.Symlink(name(path), path) },
		"device":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"empty":   func(path string) error { return os.Mkdir(path, 0o755) },
		"proc":    func(path string) error { return os.Symlink("/proc/self/fd", path) },
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"create", "run"} {
			id := rt.NewID()
			refused(t, rt, rt.Do(verb, "--bundle", path, id), id, name)
		}
	}
	id := rt.NewID()
	refused(t, rt, rt.Do("run", "--bundle", strings.Repeat("x", 10_000), id), id, "config.json")
}

func name(path string) string { return filepath.Base(path) }

// TestBadProcessFiles gives exec a file that is none, or says nonsense.
func TestBadProcessFiles(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	container := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000")))
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"missing": func(string) error { return nil },
		"folder":  func(path string) error { return os.Mkdir(path, 0o755) },
		"fifo":    func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"endless": func(path string) error { return os.Symlink("/dev/zero", path) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"object":  func(path string) error { return os.WriteFile(path, []byte("{}"), 0o644) },
		"list":    func(path string) error { return os.WriteFile(path, []byte("[]"), 0o644) },
		"deep":    func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("[", 1<<20)), 0o644) },
		"zeros":   func(path string) error { return os.WriteFile(path, []byte(`{"cwd":"/","args":["a\u0000"]}`), 0o644) },
		"env": func(path string) error {
			return os.WriteFile(path, []byte(`{"cwd":"/","args":["true"],"env":["A\nB"]}`), 0o644)
		},
		"user": func(path string) error {
			return os.WriteFile(path, []byte(`{"cwd":"/","args":["true"],"user":{"uid":-1}}`), 0o644)
		},
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		refused(t, rt, rt.Do("exec", "--process", path, container), "", name+"|args|env|uid|cwd|process")
	}
	rt.Remove(container)
}
