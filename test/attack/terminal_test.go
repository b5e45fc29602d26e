package attack

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"berth/test/bundle"
	"berth/test/bundle/report"

	"golang.org/x/sys/unix"
)

// rounds is a number of repetitions: a twentieth unless BERTH_SWEEP=1.
func rounds(n int) int {
	if os.Getenv("BERTH_SWEEP") == "1" {
		return n
	}
	return max(n/20, 1)
}

// withTerminal runs a bundle with a terminal and gives what came out of it.
func withTerminal(t *testing.T, rt *bundle.Runtime, b *bundle.Bundle) bundle.Result {
	t.Helper()
	dir, err := os.MkdirTemp("", "console") // a short path: sun_path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string, 1)
	go func() { text <- readTerminal(l) }()
	id := rt.NewID()
	res := rt.Do("run", "--detach", "--console-socket", filepath.Join(dir, "s"), "--bundle", b.Dir, id)
	if res.Code != 0 {
		l.Close()
	}
	select {
	case res.Stdout = <-text:
	case <-time.After(5 * time.Second):
	}
	l.Close()
	rt.Remove(id)
	return res
}

func readTerminal(l net.Listener) string {
	c, err := l.Accept()
	if err != nil {
		return ""
	}
	defer c.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	_, n, _, _, err := u.ReadMsgUnix(buf, oob)
	if err != nil {
		return ""
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return ""
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return ""
	}
	master := os.NewFile(uintptr(fds[0]), "terminal")
	defer master.Close()
	var all strings.Builder
	for {
		n, err := master.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			return all.String()
		}
	}
}

// mountsOf are the mounts in a report, if there is one.
func mountsOf(res bundle.Result) []report.Mount {
	var r report.Report
	_ = json.Unmarshal([]byte(strings.TrimSpace(res.Stdout)), &r)
	return r.Mounts
}

// callersTerminal runs a command as a shell would: in a session of its own
// whose controlling terminal is its standard input. It gives the output.
func callersTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	var n uint32
	unlock := 0
	for _, call := range []struct {
		request uintptr
		arg     unsafe.Pointer
	}{{unix.TIOCGPTN, unsafe.Pointer(&n)}, {unix.TIOCSPTLCK, unsafe.Pointer(&unlock)}} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), call.request, uintptr(call.arg)); errno != 0 {
			t.Fatal(errno)
		}
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	_ = cmd.Wait()
	data, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
