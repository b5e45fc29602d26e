package attach

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"berth/cli/term"
)

func TestParseKeys(t *testing.T) {
	for in, want := range map[string]string{
		"": "\x10\x11", "a": "a", "ctrl-a": "\x01", "ctrl-p,ctrl-q": "\x10\x11", "a,b,CTRL-C": "ab\x03", "ctrl-@": "\x00", "ctrl-[": "\x1b",
		"ctrl-_": "\x1f", "ctrl-\\": "\x1c",
	} {
		if got, err := ParseKeys(in); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	for _, in := range []string{"ctrl-", "ctrl-foo", "foo", "a,,b", "ctrl-1", "é"} {
		if got, err := ParseKeys(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestKeysInTheStream(t *testing.T) {
	for _, c := range []struct {
		keys, typed, passed string
		detached            bool
	}{
		{"\x10\x11", "abc", "abc", false},
		{"\x10\x11", "ab\x10\x11c", "ab", true},
		{"\x10\x11", "ab\x10c\x10\x10\x11", "ab\x10c\x10", true},
		{"\x10\x11", "ab\x10", "ab\x10", false},
		{"aab", "aaab", "a", true},
		{"aab", "aaaa", "aaaa", false},
		{"x", "x", "", true},
		{"aba", "abcaba", "abc", true},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.typed), "bytes": iotest.OneByteReader(strings.NewReader(c.typed))} {
			got, err := io.ReadAll(&keyReader{r: r, keys: []byte(c.keys)})
			if string(got) != c.passed || errors.Is(err, ErrDetached) != c.detached {
				t.Errorf("%q typed at %q, %s: %q %v", c.typed, c.keys, name, got, err)
			}
		}
	}
}

// ptyPair opens a pseudo-terminal.
func ptyPair(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, m.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if errno != 0 {
		t.Fatal(errno)
	}
	s := os.NewFile(fd, "slave")
	t.Cleanup(func() { s.Close() })
	return m, s
}

// far is a process that echoes its input in capitals until it ends.
func far(t *testing.T) (f *Far, closed <-chan struct{}) {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	gone := make(chan struct{})
	var once sync.Once
	f = &Far{Stdin: inW, Stdout: outR}
	f.Close = func() { once.Do(func() { close(gone); outR.Close(); inW.Close() }) }
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := inR.Read(b); err != nil {
				outW.Close()
				return
			}
			_, _ = outW.Write(bytes.ToUpper(b))
		}
	}()
	return f, gone
}

func TestPassesUntilTheInputEnds(t *testing.T) {
	f, _ := far(t)
	var out bytes.Buffer
	if err := Run(context.Background(), Near{In: strings.NewReader("hello"), Out: &out}, f); err != nil || out.String() != "HELLO" {
		t.Errorf("%q %v", out.String(), err)
	}
}

func TestOnlyInput(t *testing.T) {
	r, w := io.Pipe()
	got := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(r)
		got <- data
	}()
	f := &Far{Stdin: w, Close: func() {}}
	if err := Run(context.Background(), Near{In: strings.NewReader("to cat")}, f); err != nil || string(<-got) != "to cat" {
		t.Errorf("%v", err)
	}
}

// TestTerminal types at a real pseudo-terminal: keys come raw and unechoed, the
// size is passed on at once and on SIGWINCH, the keys detach, and the terminal
// is afterwards as it was.
func TestTerminal(t *testing.T) {
	master, slave := ptyPair(t)
	set := func(h, w uint16) {
		if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: h, Col: w}); err != nil {
			t.Fatal(err)
		}
	}
	set(33, 99)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	f, closed := far(t)
	sizes := make(chan [2]uint16, 8)
	f.Resize = func(h, w uint16) error { sizes <- [2]uint16{h, w}; return nil }
	done := make(chan error, 1)
	go func() {
		done <- Run(context.Background(), Near{In: slave, Out: slave, Terminal: true, Keys: DefaultKeys}, f)
	}()
	if got := <-sizes; got != [2]uint16{33, 99} {
		t.Errorf("the first size: %v", got)
	}
	set(40, 120)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	if got := <-sizes; got != [2]uint16{40, 120} {
		t.Errorf("the new size: %v", got)
	}
	if _, err := master.Write([]byte("a\x03b")); err != nil { // no line end, and ^C is a key
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(master, got); err != nil || string(got) != "A\x03B" {
		t.Errorf("shown: %q %v", got, err)
	}
	if _, err := master.Write(DefaultKeys); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrDetached) {
		t.Errorf("after the keys: %v", err)
	}
	<-closed
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was %+v and is %+v (%v)", before, after, err)
	}
	if h, w := term.Size(slave); h != 40 || w != 120 {
		t.Errorf("size %d %d", h, w)
	}
}

// TestSignals: what this client gets is the process's, by name or number.
func TestSignals(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f, _ := far(t)
	names := make(chan string, 8)
	f.Signal = func(name string) error { names <- name; return nil }
	r, w := io.Pipe()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(ctx, Near{In: r, Out: writerFunc(func([]byte) { close(ready) }), Signals: true}, f)
	}()
	_, _ = w.Write([]byte("x")) // when it comes back all is joined
	<-ready
	cancel() // what main makes of SIGTERM must not end it
	for sig, want := range map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGUSR1: "SIGUSR1", syscall.Signal(40): "40"} {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if got := <-names; got != want {
			t.Errorf("signal %d came as %s", sig, got)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestCancelDetaches(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f, closed := far(t)
	r, _ := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Near{In: r, Out: io.Discard}, f) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-closed
}

func TestCheckInput(t *testing.T) {
	_, slave := ptyPair(t)
	if err := CheckInput(slave, true, true); err != nil {
		t.Error(err)
	}
	pipe := strings.NewReader("")
	if CheckInput(pipe, true, true) == nil || CheckInput(pipe, false, true) != nil || CheckInput(pipe, true, false) != nil {
		t.Error("an input that is no terminal")
	}
}
