package differential

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"

	"golang.org/x/sys/unix"
)

// The main thread keeps its namespaces: others are changed and end.
func init() { runtime.LockOSThread() }

// host is what one run of a case has on the host: a folder, and things that
// it made there.
type host struct {
	t      *testing.T
	dir    string
	id     string
	bundle *bundle.Bundle
	made   []string // namespaces, as in "net:[4026532177]"
	files  []*os.File
}

// file writes a file in the case's folder and gives its path.
func (h *host) file(name, text string, mode os.FileMode) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// folder makes a folder with one file "inside" in it.
func (h *host) folder(name string) string {
	h.t.Helper()
	return filepath.Dir(h.file(filepath.Join(name, "inside"), "inside", 0o644))
}

// tmpfs mounts one in the case's folder.
func (h *host) tmpfs(name, options string, flags uintptr) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", flags, options); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// namespace makes one of the kind and gives a path that leads to it.
func (h *host) namespace(kind string, flag int) string {
	h.t.Helper()
	path := h.file("ns-"+kind, "", 0o600)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends
		err := unix.Unshare(flag)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/"+kind, path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		h.t.Fatal(err)
	}
	h.made = append(h.made, fmt.Sprintf("%s:[%d]", kind, st.Ino))
	return path
}

// process starts a sleeping process in new namespaces; the path of one of
// them is /proc/PID/ns/KIND.
func (h *host) process(attr *syscall.SysProcAttr) int {
	h.t.Helper()
	cmd := exec.Command("/bin/sleep", "100")
	attr.Pdeathsig = 0
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	for _, kind := range []string{"pid", "user"} {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, kind)); err == nil {
			h.made = append(h.made, link)
		}
	}
	return cmd.Process.Pid
}

// record is what was written into the case's file "record" on the host.
func (h *host) record() string {
	data, _ := os.ReadFile(filepath.Join(h.dir, "record"))
	return h.anonymous(string(data))
}

// processFile tells whether exec's options hold a whole process description.
func (h *host) processFile(options []string) bool {
	for i, o := range options {
		if o == "--process" {
			options[i+1] = h.file("process.json", options[i+1], 0o644)
			return true
		}
	}
	return false
}

// withConsole runs a command whose process has a terminal: takes the
// terminal from the console socket, and reads it to the end.
func withConsole(t *testing.T, rt *bundle.Runtime, execID string, words []string) bundle.Result {
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
	defer l.Close()
	text := make(chan string, 1)
	go func() { text <- readConsole(l) }()
	args := []string{words[0], "--console-socket", filepath.Join(dir, "s"), "--detach"}
	if execID != "" {
		args = append(args, "--tty")
	}
	res := rt.Do(append(args, words[1:]...)...)
	if res.Code != 0 {
		return res
	}
	select {
	case res.Stdout = <-text:
	case <-time.After(10 * time.Second):
		t.Errorf("nothing came from the terminal")
	}
	if execID == "" {
		rt.Remove(words[len(words)-1])
	}
	return res
}

// readConsole accepts one terminal and reads until its other side is closed.
func readConsole(l net.Listener) string {
	c, err := l.Accept()
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "no unix socket"
	}
	_, n, _, _, err := u.ReadMsgUnix(buf, oob)
	if err != nil {
		return err.Error()
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return fmt.Sprintf("%d control messages: %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fmt.Sprintf("%d descriptors: %v", len(fds), err)
	}
	master := os.NewFile(uintptr(fds[0]), "console")
	defer master.Close()
	var all strings.Builder
	for {
		n, err := master.Read(buf)
		all.Write(buf[:n])
		if err != nil { // EIO: the last user of the terminal is gone
			return all.String()
		}
	}
}
