package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	seccomp "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/test/bundle"
)

// stage is the place where measurements run.
type stage struct {
	dir   string
	ours  string // path of berth-oci
	crun  string
	floor string
	peer  chan func() // runs in a mount namespace without a v2 hierarchy
	n     int
}

func newStage() (*stage, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root")
	}
	if runtime.GOARCH != "amd64" {
		return nil, errors.New("has its program for amd64 only")
	}
	crun, err := exec.LookPath("crun")
	if err != nil {
		return nil, errors.New("needs crun: install Debian's package crun")
	}
	ours, err := bundle.Locate()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, ours: ours, crun: crun, peer: make(chan func())}
	if err := s.fill(); err != nil {
		s.remove()
		return nil, err
	}
	ready := make(chan error)
	go s.peerThread(ready)
	if err := <-ready; err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *stage) remove() { os.RemoveAll(s.dir) }

// fill makes the bundle, the overlay folders and the floor program.
func (s *stage) fill() error {
	for _, d := range []string{"rootfs/proc", "rootfs/dev", "rootfs/sys", "upper", "work", "merged", "run", "sleeper"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, code := range map[string][]byte{"true": exitCode0, "pause": pauseForever} {
		if err := os.WriteFile(filepath.Join(s.dir, "rootfs", name), program(code), 0o755); err != nil {
			return err
		}
	}
	if err := s.writeBundle(".", "/true"); err != nil {
		return err
	}
	if err := s.writeBundle("sleeper", "/pause"); err != nil {
		return err
	}
	repo, err := bundle.Repository()
	if err != nil {
		return err
	}
	s.floor = filepath.Join(s.dir, "floor")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", s.floor, "./test/bench/floor")
	build.Dir = repo
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build floor: %w: %s", err, out)
	}
	return nil
}

// writeBundle writes a config.json for a program of the common root.
func (s *stage) writeBundle(folder, program string) error {
	spec, err := benchSpec(program)
	if err != nil {
		return err
	}
	spec.Root.Path = filepath.Join(s.dir, "rootfs")
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, folder, "config.json"), b, 0o644)
}

// benchSpec is the default container with all namespaces and moby's profile.
func benchSpec(program string) (*specs.Spec, error) {
	spec := bundle.Default()
	spec.Process.Terminal = false
	spec.Process.Args = []string{program}
	spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: "pid"}, {Type: "network"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}, {Type: "cgroup"}}
	profile, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return nil, err
	}
	spec.Linux.Seccomp = profile
	return spec, nil
}

// peerThread is an OS thread with a mount namespace of its own from which a
// hybrid host's v2 mount was taken: crun refuses to run beside it.
func (s *stage) peerThread(ready chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		var fs unix.Statfs_t
		if unix.Statfs("/sys/fs/cgroup/unified", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			err = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
		}
	}
	ready <- err
	for f := range s.peer {
		f()
	}
}

// inPeer runs f on the peer's thread.
func (s *stage) inPeer(f func()) {
	done := make(chan struct{})
	s.peer <- func() { f(); close(done) }
	<-done
}

// measure runs a command to its end. What it says goes to a file: a pipe would
// be kept open by a container that stays.
func (s *stage) measure(name string, args ...string) (cost, error) {
	said, err := os.Create(filepath.Join(s.dir, "said"))
	if err != nil {
		return cost{}, err
	}
	defer said.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = said, said
	begin := time.Now()
	err = cmd.Run()
	wall := time.Since(begin)
	if err != nil {
		text, _ := os.ReadFile(said.Name())
		return cost{}, fmt.Errorf("%s %v: %w: %s", name, args, err, text)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{wall, time.Duration(ru.Utime.Nano() + ru.Stime.Nano())}, nil
}

// patience is how long one measured command may take.
const patience = 30 * time.Second

// id returns a fresh container id.
func (s *stage) id() string {
	s.n++
	return "bench-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(s.n)
}

// oursArgs and crunArgs put the global options before a verb.
func (s *stage) oursArgs(words ...string) []string {
	return append([]string{"--root", filepath.Join(s.dir, "run/ours")}, words...)
}

func (s *stage) crunArgs(words ...string) []string {
	return append([]string{"--root", filepath.Join(s.dir, "run/crun"), "--cgroup-manager=cgroupfs"}, words...)
}
