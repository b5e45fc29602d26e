package pidfd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLife(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Signal(f, 0); err != nil {
		t.Errorf("living process: %v", err)
	}
	begin := time.Now()
	if ended, err := Wait(f, 30*time.Millisecond); ended || err != nil || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("Wait: %v, %v after %v", ended, err, time.Since(begin))
	}

	if got, err := GetFD(f, 0); err != nil {
		t.Errorf("GetFD: %v", err)
	} else {
		if _, err := w.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := io.ReadFull(got, b[:]); err != nil || b[0] != 'x' {
			t.Errorf("read of the child's stdin: %q, %v", b, err)
		}
		got.Close()
	}

	if err := Signal(f, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if ended, err := Wait(f, -1); !ended || err != nil {
		t.Errorf("Wait: %v, %v", ended, err)
	}
	_ = cmd.Wait()
	if err := Signal(f, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("reaped process: %v", err)
	}
	if _, err := Open(cmd.Process.Pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Open of a reaped process: %v", err)
	}
}
