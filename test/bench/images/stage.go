package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stage is a registry, a dockerd and stores of all three engines below one
// temporary folder.
type stage struct {
	dir      string
	disk     *os.File
	registry string
	berth    string
	started  []*exec.Cmd
	peak     int64 // largest resident memory of a command of ours, KiB
}

func newStage() (s *stage, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("needs root")
	}
	berth, err := filepath.Abs("bin/berth")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(berth); err != nil {
		return nil, fmt.Errorf("%w: build it with make", err)
	}
	for _, p := range []string{"docker", "dockerd", "podman", "docker-registry"} {
		if _, err := exec.LookPath(p); err != nil {
			return nil, fmt.Errorf("%w: tools/ci/install installs it", err)
		}
	}
	dir, err := os.MkdirTemp("", "bench-images-")
	if err != nil {
		return nil, err
	}
	s = &stage{dir: dir, berth: berth}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if s.disk, err = os.Open(dir); err != nil {
		return nil, err
	}
	if err := s.startRegistry(); err != nil {
		return nil, err
	}
	return s, s.startDocker()
}

func (s *stage) start(log, name string, args ...string) error {
	f, err := os.Create(filepath.Join(s.dir, log))
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return err
	}
	s.started = append(s.started, cmd)
	return nil
}

func (s *stage) startRegistry() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.registry = l.Addr().String()
	l.Close()
	file := filepath.Join(s.dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: %q}\n", s.dir, s.registry)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if err := s.start("registry.log", "docker-registry", "serve", file); err != nil {
		return err
	}
	return s.await("docker-registry", func() error {
		c, err := net.Dial("tcp", s.registry)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (s *stage) startDocker() error {
	config := filepath.Join(s.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return err
	}
	err := s.start("dockerd.log", "dockerd", "--config-file", config, "--data-root", s.dir+"/docker", "--exec-root", s.dir+"/docker-exec", "--pidfile", s.dir+"/docker.pid",
		"-H", "unix://"+s.dir+"/docker.sock", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--storage-driver", "overlay2")
	if err != nil {
		return err
	}
	return s.await("dockerd", func() error { return s.run("docker", s.dockerArgs("version")...) })
}

func (s *stage) await(what string, f func() error) error {
	var err error
	for range 200 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer: %w", what, err)
}

func (s *stage) remove() {
	for i := len(s.started) - 1; i >= 0; i-- {
		_ = s.started[i].Process.Signal(syscall.SIGTERM)
		_ = s.started[i].Wait()
	}
	s.unmountAll()
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// unmountAll takes away what podman has mounted over its own folders.
func (s *stage) unmountAll() {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], s.dir+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

func (s *stage) berthArgs(args ...string) []string {
	return append([]string{"--root", s.dir + "/berth", "--runroot", s.dir + "/berth-run"}, args...)
}

func (s *stage) dockerArgs(args ...string) []string {
	return append([]string{"-H", "unix://" + s.dir + "/docker.sock"}, args...)
}

func (s *stage) podmanArgs(args ...string) []string {
	return append([]string{"--root", s.dir + "/podman", "--runroot", s.dir + "/podman-run", "--tmpdir", s.dir + "/podman-tmp", "--storage-driver", "overlay",
		"--cgroup-manager", "cgroupfs", "--events-backend", "file"}, args...)
}

// run runs a command and drops what it prints.
func (s *stage) run(name string, args ...string) error {
	_, err := s.output(name, args...)
	return err
}

func (s *stage) output(name string, args ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if name == s.berth && cmd.ProcessState != nil {
		s.peak = max(s.peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %.500s", name, strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// timed is the time of f and of a syncfs of the disk after it.
func (s *stage) timed(f func() error) (time.Duration, error) {
	if err := unix.Syncfs(int(s.disk.Fd())); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	err := unix.Syncfs(int(s.disk.Fd()))
	return time.Since(start), err
}

// discard reads everything.
func discard(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 1<<20))
	return err
}
