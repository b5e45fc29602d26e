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

// stage is a registry and the stores of all three engines, each on a disk of its
// own, below one temporary folder.
type stage struct {
	dir      string
	disks    []*disk
	berth    *engine
	docker   *engine
	podman   *engine
	registry string
	program  string // berth's
	started  []*exec.Cmd
	dockerd  *exec.Cmd
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
	s = &stage{dir: dir, program: berth}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if err := s.makeEngines(); err != nil {
		return nil, err
	}
	return s, s.startRegistry()
}

func (s *stage) start(log, name string, args ...string) (*exec.Cmd, error) {
	f, err := os.Create(filepath.Join(s.dir, log))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = f, f
	return cmd, cmd.Start()
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

func (s *stage) startRegistry() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.registry = l.Addr().String()
	l.Close()
	d, err := s.newDisk("registry")
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", d.root, s.registry)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	cmd, err := s.start("registry.log", "docker-registry", "serve", file)
	if err != nil {
		return err
	}
	s.started = append(s.started, cmd)
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
	cmd, err := s.start("dockerd.log", "dockerd", "--config-file", config, "--data-root", s.docker.disk.root, "--exec-root", s.dir+"/docker-exec", "--pidfile", s.dir+"/docker.pid",
		"-H", "unix://"+s.dir+"/docker.sock", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--storage-driver", "overlay2")
	if err != nil {
		return err
	}
	s.dockerd = cmd
	return s.await("dockerd", func() error { return s.docker.run("version") })
}

func (s *stage) stopDocker() {
	if s.dockerd != nil {
		stop(s.dockerd)
		s.dockerd = nil
	}
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
	s.stopDocker()
	for _, cmd := range s.started {
		stop(cmd)
	}
	var errs []error
	for _, d := range s.disks {
		errs = append(errs, d.release())
	}
	err := errors.Join(errs...)
	if err == nil { // else it might be an engine's disk that goes
		err = os.RemoveAll(s.dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// output runs a command and returns what it prints.
func (s *stage) output(name string, args ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	if name == "podman" { // it first keeps what it pulls there
		cmd.Env = append(cmd.Env, "TMPDIR="+s.podman.disk.root)
	}
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if name == s.program && cmd.ProcessState != nil {
		s.peak = max(s.peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	if err != nil {
		return "", fmt.Errorf("%s %.200s: %w: %.500s", name, strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// timed is the time of f and of a syncfs of the engine's disk after it.
func (e *engine) timed(f func() error) (time.Duration, error) {
	unix.Sync() // nobody else's writes shall be in the way
	start := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	err := e.disk.sync()
	return time.Since(start), err
}

// discard reads everything.
func discard(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 1<<20))
	return err
}
