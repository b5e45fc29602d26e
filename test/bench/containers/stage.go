package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/account"
	"berth/test/berth"
)

// image is its name with all engines.
const image = "localhost/berth/base:latest"

// stage is the stores of all three engines below one temporary folder.
type stage struct {
	dir     string
	own     *berth.Berth
	berth   *engine
	docker  *engine
	podman  *engine
	user    *user // made by a part that has one
	dockerd *exec.Cmd
	floor   string
	tracer  string
	hybrid  chan func() // runs in a mount namespace without a v2 hierarchy, for crun
	unified chan func() // runs in one with nothing else, for crun as an ordinary user's
	mounts  []string
}

// engine is one engine's command line.
type engine struct {
	stage *stage
	name  string // in the table
	words []string
	env   []string
	on    chan func()      // a thread of the stage that its commands run on, nil: any
	as    *account.Account // whose commands they are; nil: root's
}

func newStage(peers bool) (s *stage, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("needs root")
	}
	dir, err := os.MkdirTemp("", "bench-containers-")
	if err != nil {
		return nil, err
	}
	s = &stage{dir: dir}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if s.own, err = berth.Make(filepath.Join(dir, "berth")); err != nil {
		return nil, err
	}
	if err := s.inMemory(s.own.Run); err != nil {
		return nil, err
	}
	s.berth = &engine{stage: s, name: "berth", words: []string{s.own.Program}, env: s.own.Env()}
	for path, to := range map[string]*string{"./test/bench/floor": &s.floor, "./test/crash/tracer": &s.tracer} {
		*to = filepath.Join(dir, filepath.Base(path))
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *to, path)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", path, err, out)
		}
	}
	if err := s.berth.run("run", "--rm", "berth/base", "true"); err != nil {
		return nil, err
	}
	if !peers {
		return s, nil
	}
	return s, s.addPeers()
}

// addPeers starts docker and gives docker and podman the image.
func (s *stage) addPeers() error {
	for _, p := range []string{"/usr/bin/docker", "dockerd", "podman", "crun"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%w: tools/ci/install installs it", err)
		}
	}
	if err := s.inMemory(filepath.Join(s.dir, "docker-exec"), filepath.Join(s.dir, "podman-run"), filepath.Join(s.dir, "podman-tmp")); err != nil {
		return err
	}
	var err error
	if s.hybrid, err = mountThread(withoutUnified); err != nil {
		return err
	}
	on := func(elem string) string { return filepath.Join(s.dir, elem) }
	s.docker = &engine{stage: s, name: "docker", words: []string{"/usr/bin/docker", "-H", "unix://" + on("docker.sock")}, env: os.Environ()}
	conf := on("containers.conf")
	// Podman's own limits are above what a machine may allow.
	if err := os.WriteFile(conf, []byte("[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"), 0o600); err != nil {
		return err
	}
	s.podman = &engine{stage: s, name: "podman", on: s.hybrid, env: append(os.Environ(), "CONTAINERS_CONF="+conf),
		words: []string{"podman", "--root", on("podman"), "--runroot", on("podman-run"), "--tmpdir", on("podman-tmp"), "--storage-driver", "overlay",
			"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "crun"}}
	if err := s.startDocker(); err != nil {
		return err
	}
	file := on("base.tar")
	if err := s.berth.run("save", "-o", file, "berth/base"); err != nil {
		return err
	}
	for _, e := range []*engine{s.docker, s.podman} {
		if err := e.run("load", "-q", "-i", file); err != nil {
			return err
		}
		if err := e.run("run", "--rm", image, "true"); err != nil {
			return err
		}
	}
	return nil
}

// inMemory makes run folders what they are where /run is a tmpfs, as on every
// distribution.
func (s *stage) inMemory(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
		s.mounts = append(s.mounts, dir)
	}
	return nil
}

func (s *stage) startDocker() error {
	config := filepath.Join(s.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "dockerd.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.dockerd = exec.Command("dockerd", "--config-file", config, "--data-root", s.dir+"/docker", "--exec-root", s.dir+"/docker-exec",
		"--pidfile", s.dir+"/docker.pid", "-H", "unix://"+s.dir+"/docker.sock", "--storage-driver", "overlay2")
	s.dockerd.Stdout, s.dockerd.Stderr = log, log
	s.dockerd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := s.dockerd.Start(); err != nil {
		s.dockerd = nil
		return err
	}
	for range 600 {
		if err = s.docker.run("version"); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	return fmt.Errorf("dockerd does not answer: %w: %s", err, said[max(0, len(said)-2000):])
}

// mountThread is an OS thread with a mount namespace of its own, changed first.
func mountThread(change func() error) (chan func(), error) {
	ready, work := make(chan error), make(chan func())
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = change()
		}
		ready <- err
		for f := range work {
			f()
		}
	}()
	return work, <-ready
}

// withoutUnified takes a hybrid host's v2 mount away: crun refuses to run beside it.
func withoutUnified() error {
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup/unified", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
	}
	return nil
}

// unifiedAlone leaves the v2 hierarchy alone, as on a host where podman expects an
// ordinary user to have cgroups.
func unifiedAlone() error {
	return errors.Join(unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH), unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""))
}

func (s *stage) remove() {
	var errs []error
	if s.user != nil {
		errs = append(errs, s.user.remove())
	}
	for _, e := range []*engine{s.docker, s.podman} {
		if e == nil {
			continue
		}
		if out, err := e.output("ps", "-aq"); err == nil && out != "" {
			errs = append(errs, e.run(append([]string{"rm", "-f"}, strings.Fields(out)...)...))
		}
	}
	if s.podman != nil {
		s.podman.inPlace(func() { _ = unix.Unmount(s.dir+"/podman/overlay", unix.MNT_DETACH) })
	}
	if s.dockerd != nil {
		_ = s.dockerd.Process.Signal(syscall.SIGTERM)
		_ = s.dockerd.Wait() // the signal ended it
	}
	if s.own != nil {
		_, err := s.own.Empty()
		errs = append(errs, err)
	}
	for _, dir := range s.mounts {
		errs = append(errs, unix.Unmount(dir, unix.MNT_DETACH))
	}
	if s.own != nil {
		errs = append(errs, s.own.Remove())
	}
	errs = append(errs, os.RemoveAll(s.dir))
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// inPlace runs f where the engine's commands run.
func (e *engine) inPlace(f func()) {
	if e.on == nil {
		f()
		return
	}
	done := make(chan struct{})
	e.on <- func() { f(); close(done) }
	<-done
}

func (e *engine) command(words ...string) *exec.Cmd {
	all := append(e.words[:len(e.words):len(e.words)], words...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Env, cmd.Dir = e.env, e.stage.dir
	if e.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: e.as.Credential()}
	}
	return cmd
}

// output runs a command to its end. What it prints goes to files: a pipe would be
// kept open by what stays.
func (e *engine) output(words ...string) (out string, err error) {
	_, out, err = e.timed(words...)
	return out, err
}

func (e *engine) run(words ...string) error {
	_, err := e.output(words...)
	return err
}

// timed is the wall time of a command from its start to its end.
func (e *engine) timed(words ...string) (took time.Duration, out string, err error) {
	e.inPlace(func() { took, out, err = e.timedHere(words...) })
	return took, out, err
}

func (e *engine) timedHere(words ...string) (time.Duration, string, error) {
	said, err := os.CreateTemp(e.stage.dir, "said")
	if err != nil {
		return 0, "", err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd := e.command(words...)
	cmd.Stdout, cmd.Stderr = said, said
	begin := time.Now()
	err = cmd.Run()
	took := time.Since(begin)
	text, rerr := os.ReadFile(said.Name())
	if err != nil {
		return 0, "", fmt.Errorf("%s %s: %w: %.500s", e.name, strings.Join(words, " "), err, text)
	}
	return took, string(bytes.TrimSpace(text)), rerr
}
