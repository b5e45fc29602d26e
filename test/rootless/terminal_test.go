package rootless

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/leak"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestTerminal takes the terminal's master from the console socket, as an
// engine does.
func TestTerminal(t *testing.T) {
	needRoot(t)
	for name, a := range map[string]account.Account{"ranged": ranged, "lonely": lonely} {
		t.Run(name, func(t *testing.T) {
			s := sit(t, a, "")
			leak.Check(t, s.dir)
			b := s.bundle(args("/bin/sh", "-c", "tty; stat -c %u /dev/console; stty size; cat"), func(spec *specs.Spec) {
				spec.Process.Terminal = true
				spec.Process.ConsoleSize = &specs.Box{Height: 33, Width: 77}
			})
			path := filepath.Join(s.dir, "console")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := os.Chown(path, int(a.UID), int(a.GID)); err != nil {
				t.Fatal(err)
			}
			id := s.rt.NewID()
			s.must("create", "--bundle", b.Dir, "--console-socket", path, id)
			master := receive(t, l)
			defer master.Close()
			s.must("start", id)
			if _, err := master.WriteString("typed\n"); err != nil {
				t.Fatal(err)
			}
			text := readUntil(master, "typed\r\ntyped\r\n")
			if !strings.Contains(text, "/dev/") || !strings.Contains(text, "33 77") || !strings.Contains(text, "0\r\n") {
				t.Errorf("the terminal says %q", text)
			}
			s.must("delete", "--force", id)
		})
	}
}

// receive takes one descriptor from the first to connect.
func receive(t *testing.T, l *net.UnixListener) *os.File {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	control := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 4096), control)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages: %v", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v: %v", fds, err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil { // so that it can have a deadline
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal")
}

// readUntil reads until the words have come, at most some seconds.
func readUntil(f *os.File, words string) string {
	_ = f.SetReadDeadline(time.Now().Add(5 * time.Second))
	var all bytes.Buffer
	b := make([]byte, 4096)
	for !strings.Contains(all.String(), words) {
		n, err := f.Read(b)
		all.Write(b[:n])
		if err != nil {
			break
		}
	}
	return all.String()
}
