package console

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/fdpass"
)

// pty opens a pair of the machine's own devpts.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		t.Fatal(e)
	}
	master, slave = os.NewFile(uintptr(fd), "master"), os.NewFile(peer, "slave")
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestRelayBetweenPipes(t *testing.T) {
	master, slave := pty(t)
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	r, err := Attach(master, inR, outW, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inW.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := slave.Read(buf)
	if err != nil || string(buf[:n]) != "typed\n" {
		t.Errorf("the process reads %q, %v", buf[:n], err)
	}
	if _, err := slave.WriteString("one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	outW.Close()
	out, _ := io.ReadAll(outR)
	// What was typed is echoed; lines end plainly.
	if string(out) != "typed\none\ntwo\n" {
		t.Errorf("got %q", out)
	}
}

// All that was written before the end arrives, and a closed input does not end
// the output.
func TestRelayKeepsTheEnd(t *testing.T) {
	master, slave := pty(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	outR, outW := pipe(t)
	r, err := Attach(master, null, outW, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(outR)
		got <- b
	}()
	want := bytes.Repeat([]byte("0123456789abcde\n"), 20_000)
	if _, err := slave.Write(want); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	outW.Close()
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("%d bytes of %d", len(b), len(want))
	}
}

// A process in the background that keeps the terminal open, even one that
// never stops writing, does not keep us.
func TestCloseDoesNotWaitForOthers(t *testing.T) {
	for _, busy := range []bool{false, true} {
		master, slave := pty(t)
		inR, _ := pipe(t)
		outR, outW := pipe(t)
		go io.Copy(io.Discard, outR)
		r, err := Attach(master, inR, outW, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for busy {
				if _, err := slave.WriteString("y\n"); err != nil {
					return
				}
			}
		}()
		begin := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > drainTotal+3*time.Second {
			t.Errorf("busy %v: closed after %v", busy, d)
		}
	}
}

// A reader that went away does not stop the process.
func TestRelayWithoutReader(t *testing.T) {
	master, slave := pty(t)
	inR, _ := pipe(t)
	outR, outW := pipe(t)
	outR.Close()
	r, err := Attach(master, inR, outW, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := slave.Write(bytes.Repeat([]byte("x"), 1<<20))
		slave.Close()
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the process hangs")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The caller's own terminal: raw while attached, as before afterwards; its size
// follows.
func TestRelayOfTerminal(t *testing.T) {
	outer, callers := pty(t)
	master, slave := pty(t)
	size := func(row, col uint16) {
		if err := unix.IoctlSetWinsize(int(callers.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: row, Col: col}); err != nil {
			t.Fatal(err)
		}
	}
	mode := func() unix.Termios {
		m, err := unix.IoctlGetTermios(int(callers.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *m
	}
	size(11, 22)
	before := mode()
	resize := make(chan struct{})
	r, err := Attach(master, callers, callers, resize)
	if err != nil {
		t.Fatal(err)
	}
	if m := mode(); m.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 || m.Oflag&unix.OPOST == 0 {
		t.Errorf("mode while attached: %+v", m)
	}
	has := func(row, col uint16) bool {
		ws, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
		return err == nil && ws.Row == row && ws.Col == col
	}
	if !has(11, 22) {
		t.Error("the size at the start was not passed on")
	}
	size(33, 44)
	resize <- struct{}{}
	for i := 0; !has(33, 44); i++ {
		if i == 200 {
			t.Fatal("the new size was not passed on")
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Ctrl-C goes to the process as a byte, where its terminal makes a signal of it.
	raw, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw.Lflag &^= unix.ISIG | unix.ICANON | unix.ECHO
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, raw); err != nil {
		t.Fatal(err)
	}
	if _, err := outer.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if n, err := slave.Read(b[:]); n != 1 || b[0] != 3 {
		t.Errorf("the process reads %v, %v", b[:n], err)
	}
	slave.Close()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if m := mode(); m != before {
		t.Errorf("mode afterwards %+v, before %+v", m, before)
	}
}

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	// Longer than a socket's address can be.
	deep := filepath.Join(dir, strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "s")
	l, err := net.Listen("unix", short)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(deep, "console.sock")
	if err := os.Rename(short, path); err != nil {
		t.Fatal(err)
	}
	f, err := Socket(path)(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fdpass.Send(int(f.Fd()), []byte("text"), 0); err != nil {
		t.Error(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	uc, err := c.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer uc.Close()
	text, fds, err := fdpass.Receive(int(uc.Fd()), 1)
	if err != nil || string(text) != "text" {
		t.Fatalf("%q, %v", text, err)
	}
	unix.Close(fds[0])

	if _, err := Socket("/dev/null")(nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("a device: %v", err)
	}
	if _, err := Socket(filepath.Join(dir, "none"))(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestPair(t *testing.T) {
	var none *Pair
	if r, err := none.Start(nil); r != nil || err != nil || none.Close() != nil || (*Relay)(nil).Close() != nil {
		t.Error("no terminal is not nothing to do")
	}
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f, err := p.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	// The helper died before it sent anything.
	if _, err := p.Start(nil); err == nil {
		t.Error("a terminal came from nowhere")
	}
}
