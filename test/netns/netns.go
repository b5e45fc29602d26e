// Package netns gives tests networks of their own: a test binary that runs in a
// network namespace as if that were the machine's, and further namespaces that
// play containers, other hosts and routers. Nothing of it touches the machine's
// own network. For tests only.
package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const marker = "BERTH_TEST_OWN_NETWORK"

// Main runs a package's tests in a network namespace of their own, for
// TestMain. Not as root it says so and the tests that need it skip themselves
// by Need.
func Main(run func() int) int {
	if os.Getenv(marker) != "" || os.Getuid() != 0 {
		return run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is of the thread
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "run tests in their own network:", err)
	return 1
}

// Need skips a test that is not in a network of its own.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(marker) == "" {
		t.Skip("needs root: a network namespace of its own")
	}
}

// Namespace is one more network namespace.
type Namespace struct {
	File  *os.File
	work  chan func()
	close sync.Once
}

// New makes a namespace that goes with the test.
func New(t testing.TB) *Namespace {
	t.Helper()
	return start(t, "make a network namespace", func() error { return unix.Unshare(unix.CLONE_NEWNET) })
}

// Enter gives one that there is, by a path such as /proc/PID/ns/net, and holds it
// until the test's end.
func Enter(t testing.TB, path string) *Namespace {
	t.Helper()
	return start(t, "enter the network namespace "+path, func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	})
}

// start gives a namespace a thread that goes there.
func start(t testing.TB, what string, there func() error) *Namespace {
	t.Helper()
	Need(t)
	n := &Namespace{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := there()
		if err == nil {
			n.File, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Cleanup(n.Close)
	return n
}

// Close lets the namespace go, unless something else holds it. It may be called
// before the test's end.
func (n *Namespace) Close() {
	n.close.Do(func() {
		n.File.Close()
		close(n.work)
	})
}

// Do runs f inside, on a thread of its own: f must not start goroutines that
// use the network.
func (n *Namespace) Do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// Run runs a program inside and gives what it printed.
func (n *Namespace) Run(name string, args ...string) (out string, err error) {
	n.Do(func() { out, err = Run(name, args...) })
	return out, err
}

// Run runs a program in the caller's namespace and gives what it printed.
func Run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// Links lists the names of the devices in the caller's network namespace, sorted.
func Links() ([]string, error) {
	all, err := net.Interfaces()
	var out []string
	for _, i := range all {
		out = append(out, i.Name)
	}
	slices.Sort(out)
	return out, err
}

// LinksWithout is Links when none begins with prefix any more, for which it waits a
// minute: the kernel takes a container's link away a moment after its end.
func LinksWithout(prefix string) ([]string, error) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list, err := Links()
		if err != nil || !slices.ContainsFunc(list, func(l string) bool { return strings.HasPrefix(l, prefix) }) {
			return list, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("links %s… do not go: %q", prefix, list)
		}
	}
}
