package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
)

// busybox is where Debian's package busybox-static puts the program.
const busybox = "/bin/busybox"

// applets are the words that busybox answers to in the root file system.
var applets = strings.Fields(`sh ash cat cp echo env false true id ln ls mkdir mknod mount umount mv ps pwd rm
rmdir sed sleep sort stat tail test touch uname wc kill grep hostname date dd df chmod chown head printenv readlink
seq stty tty vi whoami yes chroot cut find nice od printf pidof top tr which xargs nc ip ifconfig`)

// fill makes the root file system: the usual folders, passwd and group,
// busybox with its links, and the probe.
func (b *Bundle) fill() error {
	for _, dir := range []string{"bin", "dev", "etc", "home/user", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"} {
		if err := os.MkdirAll(filepath.Join(b.Rootfs, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(b.Rootfs, "tmp"), 0o1777); err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(b.Rootfs, "home/user"), 1000, 1000); err != nil && os.Getuid() == 0 {
		return err
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
	group := "root:x:0:\ntty:x:5:\nuser:x:1000:\nextra:x:1001:user\n"
	for name, text := range map[string]string{"etc/passwd": passwd, "etc/group": group} {
		if err := os.WriteFile(filepath.Join(b.Rootfs, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := copyFile(busybox, filepath.Join(b.Rootfs, "bin/busybox")); err != nil {
		return fmt.Errorf("%w (Debian's package busybox-static has it)", err)
	}
	for _, name := range applets {
		if err := os.Symlink("busybox", filepath.Join(b.Rootfs, "bin", name)); err != nil {
			return err
		}
	}
	probe, err := Probe()
	if err != nil {
		return err
	}
	return copyFile(probe, filepath.Join(b.Rootfs, "probe"))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	// A command that is just being started would inherit the file, open for
	// writing, and then nobody can execute it (execve(2), ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Probe is the path of the probe program, built when its source or the
// toolchain changed since it was last put into the user's cache folder.
var Probe = sync.OnceValues(func() (string, error) { return Build("test/bundle/probe", "probe") })

// Build compiles a static program of this module once per source state and
// gives its path. The source state is that of the package's own folder and
// of test/bundle, so it serves small programs that tests run in containers.
func Build(folder, name string) (string, error) {
	repo, err := Repository()
	if err != nil {
		return "", err
	}
	sum, err := sourceState(filepath.Join(repo, folder), filepath.Join(repo, "test/bundle"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "berth-test")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(cache, name+"-"+sum[:24])
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", tmp, "./"+folder)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", folder, err, out)
	}
	return path, os.Rename(tmp, path)
}

// sourceState is a hash over the Go files below the folders.
func sourceState(folders ...string) (string, error) {
	var files []string
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(path, "_test.go") &&
				(strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".s")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	sort.Strings(files)
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Repository is the folder of go.mod, found upwards from the working folder
// (go test runs each test in its package's folder).
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == "/" {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}
