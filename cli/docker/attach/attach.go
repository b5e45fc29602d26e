// Package attach is the client's half of a run: it joins this process's
// streams, terminal and signals to a process in a container, until that process
// has ended or the person types the keys that detach. It knows no engine: the
// far side is given as streams and functions. Row 6.
package attach

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"berth/cli/term"
)

// Want says what the client wants of the far side.
type Want struct {
	Stdin, Stdout, Stderr bool
	// Height and Width are the terminal's size in cells, 0 if there is none.
	Height, Width uint16
}

// Far is a process in a container, as a client sees it. What is nil is not
// there: a stream that was not asked for, a size without a terminal.
type Far struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.Reader // end when the process has ended
	Resize         func(height, width uint16) error
	Signal         func(name string) error // SIGTERM, or a number
	Close          func()                  // detaches: reads of Stdout and Stderr end
	// Wait gives the exit code once the process has ended.
	Wait func(context.Context) (int, error)
}

// Near is this side.
type Near struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal: the process has one, so keys are passed on raw.
	Terminal bool
	Keys     []byte // that detach from a terminal; none: there are none
	// Signals are passed on to the process.
	Signals bool
}

// ErrDetached is what Run returns when the person typed the keys. Its text is
// docker's.
var ErrDetached = errors.New("read escape sequence")

// ErrNoTerminal is a terminal that was asked for where the input is none.
var ErrNoTerminal = errors.New("the input device is not a TTY")

// CheckInput refuses a terminal for an input that is none.
func CheckInput(in io.Reader, stdin, terminal bool) error {
	if stdin && terminal && !term.Is(in) {
		return ErrNoTerminal
	}
	return nil
}

// Run passes everything on until the far side's output ends. It returns
// ErrDetached after the keys; an input that ends closes the process's, no more.
func Run(ctx context.Context, n Near, f *Far) error {
	if n.Terminal && f.Stdin != nil {
		restore, err := term.Raw(n.In)
		if err != nil {
			return err
		}
		defer restore()
	}
	if n.Terminal && f.Resize != nil {
		defer followSize(n, f)()
	}
	if n.Signals && f.Signal != nil {
		// Signals are the process's now: none of them ends this client.
		ctx = context.WithoutCancel(ctx)
		stop, err := passSignals(f)
		if err != nil {
			return err
		}
		defer stop()
	}
	return pass(ctx, n, f)
}

// pass copies the streams.
func pass(ctx context.Context, n Near, f *Far) error {
	input := make(chan error, 1)
	if f.Stdin != nil {
		go func() { input <- passInput(n, f.Stdin) }()
	}
	outputs, open := make(chan error, 2), 0
	for _, o := range []struct {
		from io.Reader
		to   io.Writer
	}{{f.Stdout, n.Out}, {f.Stderr, n.Err}} {
		if o.from != nil {
			open++
			go func() {
				_, err := io.Copy(o.to, o.from)
				outputs <- err
			}()
		}
	}
	onlyInput := open == 0 && f.Stdin != nil
	for open > 0 || onlyInput {
		select {
		case err := <-input:
			if errors.Is(err, ErrDetached) {
				f.Close()
				return err
			}
			onlyInput = false
		case err := <-outputs:
			open--
			if err != nil && !gone(err) {
				f.Close()
				return err
			}
		case <-ctx.Done():
			f.Close()
			return ctx.Err()
		}
	}
	return nil
}

// gone reports whether the other side went away, which is how streams end.
func gone(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.ECONNRESET)
}

// passInput copies the input and closes the far one behind it.
func passInput(n Near, to io.WriteCloser) error {
	in := n.In
	if n.Terminal && len(n.Keys) > 0 {
		in = &keyReader{r: n.In, keys: n.Keys}
	}
	_, err := io.Copy(to, in)
	if errors.Is(err, ErrDetached) {
		return err
	}
	_ = to.Close()
	return err
}

// followSize gives the far terminal this one's size, now and whenever it changes.
func followSize(n Near, f *Far) (stop func()) {
	resize := func() {
		if h, w := term.Size(n.Out); h > 0 && w > 0 {
			_ = f.Resize(h, w) // a process that has just ended has no size
		}
	}
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	resize()
	go func() {
		for {
			select {
			case <-changed:
				resize()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changed); close(done) }
}
