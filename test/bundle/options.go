package bundle

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Edit changes the configuration freely.
func Edit(f func(*specs.Spec)) Option {
	return func(b *Bundle) error { f(b.Spec); return nil }
}

// Args sets the process's command line.
func Args(args ...string) Option {
	return Edit(func(s *specs.Spec) { s.Process.Args = args })
}

// Do makes the process run the probe's verbs in order; "--" stands between
// two of them. The answer is read with Result.Answers.
func Do(words ...string) Option {
	return Args(append([]string{"/probe", "do"}, words...)...)
}

// Env adds variables, KEY=value.
func Env(env ...string) Option {
	return Edit(func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, env...) })
}

// Cwd sets the working folder.
func Cwd(dir string) Option { return Edit(func(s *specs.Spec) { s.Process.Cwd = dir }) }

// User sets the process's user, group and further groups.
func User(uid, gid uint32, more ...uint32) Option {
	return Edit(func(s *specs.Spec) {
		s.Process.User = specs.User{UID: uid, GID: gid, AdditionalGids: more}
	})
}

// Caps sets the bounding, effective and permitted sets to the names.
func Caps(names ...string) Option {
	return Edit(func(s *specs.Spec) {
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
	})
}

// Mount adds a mount after the others.
func Mount(m specs.Mount) Option {
	return Edit(func(s *specs.Spec) { s.Mounts = append(s.Mounts, m) })
}

// Bind adds a bind mount with the options ("rbind" unless some are given).
func Bind(source, target string, options ...string) Option {
	if len(options) == 0 {
		options = []string{"rbind"}
	}
	return Mount(specs.Mount{Destination: target, Type: "bind", Source: source, Options: options})
}

// Unmount takes the mount on the target out of the configuration.
func Unmount(target string) Option {
	return Edit(func(s *specs.Spec) {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == target })
	})
}

// Namespace adds a namespace, or changes the path of the one that is there.
func Namespace(kind specs.LinuxNamespaceType, path string) Option {
	return Edit(func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces,
			func(n specs.LinuxNamespace) bool { return n.Type == kind })
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
	})
}

// Share takes namespaces out, so that the container has the runtime's.
func Share(kinds ...specs.LinuxNamespaceType) Option {
	return Edit(func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces,
			func(n specs.LinuxNamespace) bool { return slices.Contains(kinds, n.Type) })
	})
}

// MapIDs adds a user namespace whose ids 0… are base… on the host, and gives
// the root file system to them.
func MapIDs(base, size uint32) Option {
	return func(b *Bundle) error {
		m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: base, Size: size}}
		b.Spec.Linux.UIDMappings, b.Spec.Linux.GIDMappings = m, m
		if err := Namespace(specs.UserNamespace, "")(b); err != nil {
			return err
		}
		return filepath.WalkDir(b.Rootfs, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, int(base), int(base))
		})
	}
}

// Seccomp sets Docker's default profile, as it is for the configuration's
// capabilities at this point.
func Seccomp() Option {
	return func(b *Bundle) error {
		profile, err := seccomp.GetDefaultProfile(b.Spec)
		b.Spec.Linux.Seccomp = profile
		return err
	}
}

// Resources changes the limits; the device rules are there already.
func Resources(f func(*specs.LinuxResources)) Option {
	return Edit(func(s *specs.Spec) { f(s.Linux.Resources) })
}

// Terminal asks for a terminal of the given size; 0 leaves the size out.
func Terminal(rows, cols uint) Option {
	return Edit(func(s *specs.Spec) {
		s.Process.Terminal = true
		if rows > 0 {
			s.Process.ConsoleSize = &specs.Box{Height: rows, Width: cols}
		}
	})
}

// Readonly makes the root file system read-only.
func Readonly() Option { return Edit(func(s *specs.Spec) { s.Root.Readonly = true }) }

// File writes a file into the root file system, with its folders.
func File(path, text string, mode os.FileMode) Option {
	return func(b *Bundle) error {
		full := filepath.Join(b.Rootfs, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), mode); err != nil {
			return err
		}
		return os.Chmod(full, mode)
	}
}

// Dir makes a folder in the root file system.
func Dir(path string, mode os.FileMode) Option {
	return func(b *Bundle) error {
		full := filepath.Join(b.Rootfs, path)
		if err := os.MkdirAll(full, mode); err != nil {
			return err
		}
		return os.Chmod(full, mode)
	}
}

// Symlink makes (or replaces, even an empty folder by) a symbolic link in
// the root file system.
func Symlink(target, path string) Option {
	return func(b *Bundle) error {
		full := filepath.Join(b.Rootfs, path)
		if err := os.Remove(full); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		return os.Symlink(target, full)
	}
}
