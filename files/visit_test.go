package files

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/clone"
)

// A first stage that dies before it has said the second one's pid is not waited for,
// though the second one has the socket open; one that has said it may die.
func TestFirstStageDies(t *testing.T) {
	frame := func(kind byte, payload ...byte) []byte {
		return append([]byte{kind, 0, 0, 0, byte(len(payload)), 0, 0, 0}, payload...) // host byte order: amd64, arm64
	}
	pid := frame(clone.FramePID, 57, 48, 0, 0)
	for _, c := range []struct {
		name string
		said [][]byte
		pid  int // 0: it fails
	}{
		{"mute", nil, 0},
		{"second stage alone", [][]byte{frame(clone.FrameReady)}, 0},
		{"both", [][]byte{frame(clone.FrameReady), pid}, 12345},
		{"pid first", [][]byte{pid, frame(clone.FrameReady)}, 12345},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := exec.Command("/bin/true")
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			defer first.Wait()
			sock, theirs, err := pair("control")
			if err != nil {
				t.Fatal(err)
			}
			defer sock.Close()
			defer theirs.Close()
			for _, f := range c.said {
				if _, err := theirs.Write(f); err != nil {
					t.Fatal(err)
				}
			}
			// It has ended, and is not reaped.
			if err := unix.Waitid(unix.P_PID, first.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
				t.Fatal(err)
			}
			v := &Visit{sock: sock, pid: first.Process.Pid}
			begin := time.Now()
			err = v.ready(true)
			if took := time.Since(begin); took > startPatience/2 {
				t.Errorf("it took %v", took)
			}
			switch {
			case c.pid == 0 && (!fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "ended")):
				t.Errorf("it says %v", err)
			case c.pid > 0 && (err != nil || v.pid != c.pid):
				t.Errorf("pid %d, %v", v.pid, err)
			}
		})
	}
}
