package oci_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/sys/fdpass"
	"berth/test/bundle"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: runs containers")
	}
}

// A service manager's sockets come first, then --preserve-fds; the process
// finds the former by its environment.
func TestInheritedDescriptors(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t)
	var files []*os.File
	for _, name := range []string{"socket", "kept", "dropped"} {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	for _, c := range []struct {
		pid  string
		kept int
		want string
	}{
		{"$$", 1, "socket kept LISTEN_FDS=1 LISTEN_PID=1"},
		{"$$", 0, "socket LISTEN_FDS=1 LISTEN_PID=1"},
		{"1", 1, "socket"}, // meant for another process: --preserve-fds begins at 3
	} {
		run := rt.Command("run", "--bundle", b.Dir, "--preserve-fds", fmt.Sprint(c.kept), rt.NewID())
		cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=` + c.pid + ` exec "$0" "$@"`}, run.Args...)...)
		cmd.SysProcAttr, cmd.ExtraFiles = run.SysProcAttr, files
		rep := rt.Finish(cmd).Report(t)
		var got []string
		for _, fd := range rep.FDs {
			if fd.N > 2 && strings.HasPrefix(fd.Target, "/") && !strings.HasPrefix(fd.Target, "/proc") {
				got = append(got, filepath.Base(fd.Target))
			}
		}
		for _, e := range rep.Exec.Env {
			if strings.HasPrefix(e, "LISTEN_") {
				got = append(got, e)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("LISTEN_PID=%s --preserve-fds %d: the process has %q, want %q", c.pid, c.kept, got, c.want)
		}
	}
}

func TestPidfdSocket(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "1000")), "--pidfd-socket", path)
	var state struct{ PID int }
	if err := json.Unmarshal([]byte(rt.Must("state", id).Stdout), &state); err != nil {
		t.Fatal(err)
	}
	if text, pid := receivePidfd(t, l); text != "standard" || pid != state.PID {
		t.Errorf("run sent %q for process %d, which is %d", text, pid, state.PID)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	rt.Must("exec", "--detach", "--pidfd-socket", path, "--pid-file", pidFile, id, "/probe", "sleep", "1000")
	want, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if text, pid := receivePidfd(t, l); text != "setns" || fmt.Sprint(pid) != string(want) {
		t.Errorf("exec sent %q for process %d, which is %s", text, pid, want)
	}
	if r := rt.Run(bundle.New(t), "--pidfd-socket", path+"x"); r.Code != 1 || !strings.Contains(r.Stderr, "pidfd socket") {
		t.Errorf("a socket that is not there: %s", r)
	}
}

// receivePidfd takes the next connection and reads the pid of what came.
func receivePidfd(t *testing.T, l *net.UnixListener) (text string, pid int) {
	t.Helper()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, fds, err := fdpass.Receive(int(f.Fd()), 1)
	if err != nil {
		t.Fatal(err)
	}
	got := os.NewFile(uintptr(fds[0]), "pidfd")
	defer got.Close()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(info), "\n") {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			fmt.Sscan(v, &pid)
		}
	}
	return string(b), pid
}
