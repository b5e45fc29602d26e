package container

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/netns"
)

// store is a store of one's own with the program beside it.
type store struct {
	t   *testing.T
	env []string
	bin string
}

func newStore(t *testing.T) *store {
	netns.Need(t)
	bin, err := filepath.Abs("../../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	if p := os.Getenv("BERTH"); p != "" {
		bin = p
	}
	run, err := os.MkdirTemp("/run", "bt")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "store") // t.TempDir must find it gone for good at once
	if err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, bin: bin, env: append(os.Environ(), "BERTH_ROOT="+root, "BERTH_RUN="+run, "BERTH_ETC="+t.TempDir(), "HOME="+t.TempDir())}
	t.Cleanup(func() {
		for _, id := range strings.Fields(s.must("ps", "-aq")) {
			s.must("rm", "-f", id)
		}
		_ = os.RemoveAll(run)
		// What follows the end of a container, and the next one's layer that is made
		// ahead, may be under way, and make folders anew.
		for gone, end := 0, time.Now().Add(20*time.Second); gone < 4 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if _, err := os.Lstat(root); err != nil {
				gone++
				continue
			}
			gone = 0
			_ = os.RemoveAll(root)
		}
		if _, err := os.Lstat(root); err == nil {
			t.Errorf("the store %s is not to be removed", root)
		}
	})
	return s
}

func (s *store) cmd(args ...string) *exec.Cmd {
	c := exec.Command(s.bin, args...)
	c.Env = s.env
	return c
}

func (s *store) try(args ...string) (string, error) {
	out, err := s.cmd(args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *store) must(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("berth %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// canary is a folder of the host with a secret, and a file that nobody may change.
func canary(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("the host's secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		names, err := os.ReadDir(dir)
		text, rerr := os.ReadFile(filepath.Join(dir, "secret"))
		if err != nil || rerr != nil || len(names) != 1 || string(text) != "the host's secret" {
			t.Errorf("the host's folder has %v, secret %q: %v %v", names, text, err, rerr)
		}
	})
	return dir
}

// holds reports whether there is the secret in a file or tree.
func holds(t *testing.T, path string) bool {
	found := false
	_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(p)
			found = found || strings.Contains(string(text), "the host's secret")
		}
		return nil
	})
	return found
}

// Links of all sorts lead nowhere but in the container, running or stopped, and a
// device, a FIFO, a magic link do nothing.
func TestHostileLinks(t *testing.T) {
	s := newStore(t)
	out := canary(t)
	s.must("run", "-d", "--name", "one", "--network", "none", "berth/base", "sleep", "600")
	s.must("exec", "one", "sh", "-c", fmt.Sprintf(`cd /tmp
		ln -s %[1]s abs; ln -s ../../../../../../../..%[1]s up; ln -s %[1]s/secret file; ln -s abs hop
		ln -s /proc/1/root%[1]s magic; ln -s /proc/self/root/etc/shadow magic2; ln -s /proc/1/cwd cwd; ln -s loop loop
		mkfifo pipe; mkdir d; ln -s %[1]s d/link; mkfifo d/pipe`, out))
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			s.must("stop", "-t", "0", "one")
		}
		for i, from := range []string{"abs/secret", "up/secret", "file", "hop/secret", "magic/secret", "magic2", "cwd/secret", "loop/x", "abs/.", "d/link/secret", "/proc/1/root" + out + "/secret"} {
			for _, flag := range []string{"-q", "-L"} {
				to := filepath.Join(t.TempDir(), strconv.Itoa(i))
				text, err := s.try("cp", flag, "one:/tmp/"+from, to)
				if holds(t, filepath.Dir(to)) {
					t.Errorf("%s: %s gave the host's file: %s %v", state, from, text, err)
				}
			}
		}
		evil := filepath.Join(t.TempDir(), "evil")
		if err := os.WriteFile(evil, []byte("evil"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"abs", "abs/secret", "up/", "up/new", "file", "hop/secret", "magic/secret", "magic", "loop", "loop/x", "d/link/x"} {
			text, err := s.try("cp", evil, "one:/tmp/"+to)
			t.Log(state, to, text, err) // the canary tells
		}
		// A FIFO and a folder with one are copied as what they are, and end.
		to := filepath.Join(t.TempDir(), "d")
		s.must("cp", "one:/tmp/d", to)
		if st, err := os.Lstat(filepath.Join(to, "pipe")); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
			t.Errorf("%s: the FIFO is %v %v", state, st, err)
		}
	}
}

// A device is copied as a node, and never opened.
func TestHostileDevice(t *testing.T) {
	s := newStore(t)
	shared := t.TempDir()
	dev := filepath.Join(shared, "dev")
	if err := unix.Mknod(dev, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	s.must("run", "-d", "--name", "one", "--network", "none", "-v", shared+":/s", "berth/base", "sleep", "600")
	for range 2 { // running, stopped
		text, err := s.cmd("cp", "one:/s/dev", "-").Output()
		if err != nil {
			t.Fatal(err)
		}
		if h, err := tar.NewReader(bytes.NewReader(text)).Next(); err != nil || h.Typeflag != tar.TypeChar || h.Devmajor != 1 || h.Devminor != 5 {
			t.Errorf("a device's tar has %+v: %v", h, err)
		}
		if out, err := s.try("cp", dev, "one:/tmp/dev"); err != nil || !strings.Contains(out, "1 device nodes were left out") {
			t.Errorf("a device into a container: %v %s", err, out)
		}
		s.must("stop", "-t", "0", "one")
	}
}

// Somebody exchanges a folder for a link to the host's while files are copied.
func TestHostileRace(t *testing.T) {
	s := newStore(t)
	out := canary(t)
	shared, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(shared, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"b": out, "c": "../../../../../../../.." + out} {
		if err := os.Symlink(target, filepath.Join(shared, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(shared, "a/secret"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.must("run", "-d", "--name", "up", "--network", "none", "-v", shared+":/s", "berth/base", "sleep", "600")
	s.must("create", "--name", "down", "--network", "none", "-v", shared+":/s", "berth/base", "true")
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		at := func(n string) string { return filepath.Join(shared, n) }
		for i := 0; !stop.Load(); i++ {
			_ = unix.Renameat2(unix.AT_FDCWD, at("a"), unix.AT_FDCWD, at([]string{"b", "c"}[i%2]), unix.RENAME_EXCHANGE)
		}
	}()
	evil := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(evil, []byte("evil"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		for _, name := range []string{"up", "down"} {
			_, _ = s.try("cp", evil, name+":/s/a/secret")
			_, _ = s.try("cp", evil, name+":/s/a")
			to := filepath.Join(t.TempDir(), strconv.Itoa(i))
			_, _ = s.try("cp", name+":/s/a/secret", to)
			_, _ = s.try("cp", name+":/s", to+"d")
			if holds(t, filepath.Dir(to)) {
				t.Fatalf("%s: the host's secret came out", name)
			}
		}
	}
	stop.Store(true)
	<-ended
}

// The command is killed while it copies out of a stopped container: its process
// goes, the container is free again, the store is whole.
func TestKilledCopy(t *testing.T) {
	s := newStore(t)
	s.must("create", "--name", "one", "--network", "none", "berth/base", "true")
	c := s.cmd("cp", "one:/", "-")
	out, err := c.StdoutPipe() // which nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	child := 0
	for end := time.Now().Add(time.Minute); child == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		child = childOf(c.Process.Pid)
	}
	if child == 0 {
		t.Fatal("no process copies")
	}
	fd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = c.Process.Kill()
	_ = c.Wait()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 60_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d lives on: %v", child, err)
		}
		break
	}
	s.must("start", "one")
	s.must("rm", "-f", "one")
	s.must("system", "check")
}

// childOf finds a child that is this program as well.
func childOf(pid int) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(text)) {
			words, _ := os.ReadFile("/proc/" + f + "/cmdline")
			if strings.Contains(string(words), "files-worker") {
				n, _ := strconv.Atoi(f)
				return n
			}
		}
	}
	return 0
}

// commit is killed at many moments: what is left is no image, and nothing is broken.
func TestKilledCommit(t *testing.T) {
	s := newStore(t)
	s.must("run", "--name", "one", "--network", "none", "berth/base", "sh", "-c", "head -c 8000000 /dev/urandom >/big")
	begin := time.Now()
	s.must("commit", "one", "whole")
	took := time.Since(begin)
	for i := range 12 {
		c := s.cmd("commit", "one", fmt.Sprintf("try%d", i))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(took * time.Duration(i) / 12) // the moment is what is tried
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	s.must("system", "check")
	for _, name := range strings.Fields(s.must("images", "--format", "{{.Repository}}")) {
		if strings.HasPrefix(name, "try") {
			s.must("run", "--rm", "--network", "none", name, "test", "-s", "/big")
		}
	}
	s.must("commit", "one", "again")
	s.must("run", "--rm", "--network", "none", "again", "test", "-s", "/big")
}
