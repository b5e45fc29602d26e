package catch

import (
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// await takes signals until all of want have come.
func await(t *testing.T, c *Catcher, want ...unix.Signal) {
	t.Helper()
	var got []unix.Signal
	for len(got) < len(want) {
		fds := []unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 5000); n != 1 && err != unix.EINTR {
			t.Fatalf("got %v, want %v: %v", got, want, err)
		}
		got = append(got, c.Take()...)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCatch(t *testing.T) {
	c, err := Start([]unix.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if got := c.Take(); len(got) != 0 {
		t.Errorf("got %v before any was sent", got)
	}
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1} {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	await(t, c, unix.SIGHUP, unix.SIGUSR1, unix.SIGTERM)
}

// TestOneInAnother: the newest gets all; when it stops the other goes on, also with
// what was not taken.
func TestOneInAnother(t *testing.T) {
	outer, err := Start([]unix.Signal{unix.SIGHUP, unix.SIGTERM})
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Stop()
	inner, err := Start([]unix.Signal{unix.SIGHUP, unix.SIGUSR1})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGTERM} {
		_ = unix.Kill(os.Getpid(), s)
	}
	await(t, inner, unix.SIGHUP, unix.SIGUSR1, unix.SIGTERM)
	_ = unix.Kill(os.Getpid(), unix.SIGHUP)
	fds := []unix.PollFd{{Fd: int32(inner.FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 5000); n != 1 {
		t.Fatalf("SIGHUP did not come: %v", err)
	}
	inner.Stop()
	await(t, outer, unix.SIGHUP)
	_ = unix.Kill(os.Getpid(), unix.SIGTERM)
	await(t, outer, unix.SIGTERM)
}

// TestEach: f is called for each signal, and may stop it.
func TestEach(t *testing.T) {
	came := make(chan unix.Signal, 8)
	_, err := Each([]unix.Signal{unix.SIGUSR1, unix.SIGUSR2}, func(s unix.Signal, stop func()) {
		if s == unix.SIGUSR2 {
			stop()
		}
		came <- s
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2} {
		_ = unix.Kill(os.Getpid(), s)
		select {
		case got := <-came:
			if got != s {
				t.Errorf("%v came as %v", s, got)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%v did not come", s)
		}
	}
	c, err := Start(nil)
	if err != nil || c.outer != nil {
		t.Errorf("one is left after stop: %v", err)
	}
	c.Stop()
}

// TestGivesBack: after Stop the signal is os/signal's again.
func TestGivesBack(t *testing.T) {
	theirs := make(chan os.Signal, 1)
	signal.Notify(theirs, unix.SIGUSR2)
	defer signal.Stop(theirs)
	c, err := Start([]unix.Signal{unix.SIGUSR2})
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(os.Getpid(), unix.SIGUSR2)
	await(t, c, unix.SIGUSR2)
	c.Stop()
	_ = unix.Kill(os.Getpid(), unix.SIGUSR2)
	select {
	case <-theirs:
	case <-time.After(5 * time.Second):
		t.Error("not given back")
	}
}

// TestTakenOver: os/signal takes over a signal that was ignored at first, and
// keeps it.
func TestTakenOver(t *testing.T) {
	signal.Ignore(unix.SIGHUP)
	c, err := Start([]unix.Signal{unix.SIGHUP})
	if err != nil {
		t.Fatal(err)
	}
	theirs := make(chan os.Signal, 1)
	signal.Notify(theirs, unix.SIGHUP)
	defer signal.Stop(theirs)
	c.Stop()
	_ = unix.Kill(os.Getpid(), unix.SIGHUP)
	select {
	case <-theirs:
	case <-time.After(5 * time.Second):
		t.Error("lost")
	}
}

// TestUnderLoad: the handler runs on any thread, in the middle of Go code, of
// collections and of forks.
func TestUnderLoad(t *testing.T) {
	c, err := Start([]unix.Signal{unix.SIGUSR1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var keep [][]byte
			for {
				select {
				case <-stop:
					return
				default:
					if keep = append(keep, make([]byte, 1<<12)); len(keep) > 100 {
						keep = nil
					}
				}
			}
		})
	}
	for i := range 2000 {
		_ = unix.Kill(os.Getpid(), unix.SIGUSR1)
		if i%100 == 0 {
			if err := exec.Command("/bin/true").Run(); err != nil {
				t.Error(err)
			}
		}
		await(t, c, unix.SIGUSR1)
		if t.Failed() {
			break
		}
	}
	close(stop)
	wg.Wait()
}
