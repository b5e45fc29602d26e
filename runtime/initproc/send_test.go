package initproc

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSendToTheDead: a plan that no buffer holds does not wait for a process
// that has ended, though its end of the socket is open here.
func TestSendToTheDead(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	cmd := exec.Command("sleep", "0.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	result := make(chan error, 1)
	go func() { result <- Send(pair[0], pidfd, make([]byte, 8<<20), nil) }()
	select {
	case err := <-result:
		if !errors.Is(err, unix.EPIPE) {
			t.Errorf("error %v, want EPIPE", err)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("it waits for ever")
	}
	_ = cmd.Wait()
}
