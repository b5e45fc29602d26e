package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/account"
	"berth/test/berth"
	"berth/test/netns"
)

// userns is what the private user namespace of root's containers costs a run.
func (s *stage) userns(t *table, o options) error {
	run := func(mode string) func() (time.Duration, error) {
		return s.berth.doing("run", "--rm", "--network", "none", "--userns", mode, image, "true")
	}
	times, err := rounds(o.rounds, run("private"), run("host"))
	if err != nil {
		return err
	}
	t.most("a private user namespace adds to run", float64(median(times[0])-median(times[1]))/1e6, 3, "ms")
	return nil
}

// user is an ordinary one with ranges of ids, and both engines as hers.
type user struct {
	account.Account
	own           *berth.Berth
	berth, podman *engine
}

// newUser makes one; a container of berth's stays for as long as she does, as
// podman's pause process does, so that the namespaces of neither are made in each run.
func (s *stage) newUser() (u *user, err error) {
	u = &user{}
	if u.Account, err = account.Make("berth-bench"); err != nil {
		return nil, err
	}
	s.user = u
	dir := filepath.Join(s.dir, "u")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	program, err := account.Copy(s.own.Program, dir)
	if err != nil {
		return nil, err
	}
	if u.own, err = berth.MakeAs(u.Account, program, filepath.Join(dir, "store")); err != nil {
		return nil, err
	}
	run, home := filepath.Join(dir, "r"), filepath.Join(dir, "home") // podman takes a run folder of 50 characters at most, and says so to nobody
	if err := s.inMemory(u.own.Run); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Mkdir(run, 0o700), os.Mkdir(home, 0o700)); err != nil {
		return nil, err
	}
	if s.unified, err = mountThread(unifiedAlone); err != nil {
		return nil, err
	}
	u.podman = &engine{stage: s, name: "podman", on: s.unified, as: &u.Account, words: []string{"podman", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "crun"},
		env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + run, "CONTAINERS_CONF=" + filepath.Join(s.dir, "containers.conf")}}
	u.podman.inPlace(func() { // where its mounts are
		err = os.NewSyscallError("mount", unix.Mount("tmpfs", run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"))
		err = errors.Join(err, u.Give(run))
	})
	if err = errors.Join(err, u.Give(u.own.Run), u.Give(home)); err != nil {
		return nil, err
	}
	u.berth = &engine{stage: s, name: "berth", words: []string{program}, env: u.own.Env(), as: &u.Account}
	if err := os.Chmod(filepath.Join(s.dir, "containers.conf"), 0o644); err != nil {
		return nil, err
	}
	if err := u.berth.run("run", "-d", "--name", "stays", image, "sleep", "100000"); err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "base.tar")
	if err := os.Chmod(file, 0o644); err != nil {
		return nil, err
	}
	return u, errors.Join(u.podman.run("load", "-q", "-i", file), u.podman.run("run", "--rm", image, "true"))
}

func (u *user) remove() error {
	var errs []error
	if u.podman != nil {
		errs = append(errs, u.podman.run("rm", "-fa"), u.podman.run("system", "migrate")) // which ends its pause process
	}
	if u.own != nil {
		_, err := u.own.Empty()
		errs = append(errs, err)
	}
	time.Sleep(1500 * time.Millisecond) // the holder ends by itself
	u.KillAll()                         // podman leaves some
	return errors.Join(append(errs, u.Account.Remove())...)
}

// users compares an ordinary user's runs with podman's, and how fast what they send
// gets out.
func (s *stage) users(t *table, o options) error {
	server, err := serveNeighbour()
	if err != nil {
		return err
	}
	defer endServer(server)
	u, err := s.newUser()
	if err != nil {
		return err
	}
	for _, one := range []struct {
		name  string
		words []string
		goal  float64
	}{{"its own network", nil, 10}, {"network none", []string{"--network", "none"}, 0}} {
		words := slices.Concat([]string{"run", "--rm"}, one.words, []string{image, "true"})
		times, err := rounds(o.rounds, u.berth.doing(words...), u.podman.doing(words...))
		if err != nil {
			return err
		}
		t.faster("a user's run --rm true, "+one.name+", against podman", times[0], times[1], one.goal)
	}
	return u.wayOut(t, o)
}

// neighbour is the address of a server of iperf3 in a network namespace of its own,
// which is all that this one has to reach.
const neighbour = "198.51.100.2"

// serveNeighbour starts it.
func serveNeighbour() (*exec.Cmd, error) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		return nil, fmt.Errorf("%w: install the package iperf3", err)
	}
	server := exec.Command("iperf3", "-s")
	server.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		return nil, err
	}
	pid := strconv.Itoa(server.Process.Pid)
	for _, line := range []string{
		"ip link add bench0 type veth peer name bench1 netns " + pid, "ip address add 198.51.100.1/24 dev bench0", "ip link set bench0 up", "ip link set lo up",
		"nsenter -t " + pid + " -n ip address add " + neighbour + "/24 dev bench1", "nsenter -t " + pid + " -n ip link set bench1 up",
	} {
		words := strings.Fields(line)
		if _, err := netns.Run(words[0], words[1:]...); err != nil {
			endServer(server)
			return nil, err
		}
	}
	return server, nil
}

func endServer(server *exec.Cmd) {
	_ = server.Process.Kill()
	_ = server.Wait()
}

// wayOut sends to a neighbour of the host, by one connection: through berth-uplink
// and through podman's slirp4netns. Pasta is none of podman 4.3's.
func (u *user) wayOut(t *table, o options) error {
	var rates [2][2][]time.Duration
	for range max(o.rounds/10, 3) {
		for i, e := range []*engine{u.berth, u.podman} {
			for way, more := range [][]string{nil, {"-R"}} {
				d, err := e.gigabit(slices.Concat(iperfRun("run", "--rm"), []string{"-c", neighbour, "-t", "2", "-J"}, more))
				if err != nil {
					return err
				}
				rates[i][way] = append(rates[i][way], d)
			}
		}
	}
	for way, name := range []string{"out", "in"} {
		t.faster("a gigabit of a user's container, "+name+", against podman", rates[0][way], rates[1][way], 0)
	}
	return nil
}
