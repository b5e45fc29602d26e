package unpack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Messages are JSON in one packet each. Names are bytes, which JSON carries as
// base64: they need not be UTF-8.

// maxMessage bounds a packet; the default socket buffer holds one.
const maxMessage = 160 << 10

// order goes to a process with four descriptors: the layer's folder or, for the
// reader, the compressed stream; the memory and the socket of the ring with the
// plain bytes; and its end of the layer's socket.
type order struct {
	Limits      Limits
	Compression Compression
	OneID       bool // see the package comment
	UserXattr   bool // opaque folders as user.overlay.opaque
}

// What a worker asks and says on a layer's socket.
const (
	opNode   = "node"   // make a device node at Path
	opOpaque = "opaque" // set trusted.overlay.opaque on the folder Path
	opParent = "parent" // attributes of the folder Path in the layers below
	opHide   = "hide"   // hide what the layers below have in their root
	opDone   = "done"   // Result
	opFail   = "fail"   // Fail
)

// request comes from a process that reads foreign bytes: its reader trusts
// none of it.
type request struct {
	Op           string
	Path         []byte  `json:",omitempty"`
	Mode         uint32  `json:",omitempty"` // S_IFCHR or S_IFBLK
	Major, Minor uint32  `json:",omitempty"`
	Result       *Result `json:",omitempty"`
	Fail         *wireError
}

// reply answers a request.
type reply struct {
	Fail *wireError
	Attr *attributes `json:",omitempty"` // nil: no layer below has the folder
}

// attributes of a file. Times are seconds and nanoseconds.
type attributes struct {
	UID, GID     int
	Mode         uint32 // permissions and setuid bits
	Timed        bool   // Atime and Mtime say something
	Atime, Mtime [2]int64
	Xattrs       []xattr `json:",omitempty"`
}

type xattr struct {
	Name  string
	Value []byte
}

// wireError is an error that keeps its kind and errno across the socket.
type wireError struct {
	Text  string
	Kind  fault.Kind
	Errno int `json:",omitempty"`
}

func (e *wireError) Error() string { return e.Text }

func (e *wireError) Unwrap() error {
	if e.Errno <= 0 {
		return nil
	}
	return unix.Errno(e.Errno)
}

// maxText bounds the text of an error from the worker.
const maxText = 2048

func toWire(err error) *wireError {
	w := &wireError{Text: oneLine(err.Error()), Kind: fault.KindOf(err)}
	var errno unix.Errno
	if errors.As(err, &errno) {
		w.Errno = int(errno)
	}
	return w
}

// err is the error with its kind; text from the other side stays one line.
func (e *wireError) err() error {
	e.Text = oneLine(e.Text)
	if e.Kind == fault.Unknown || e.Kind > fault.Conflict {
		return e
	}
	return fault.Wrap(e.Kind, e)
}

// oneLine takes out what could act on a terminal or a log.
func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s)
}

// write sends one message as one packet.
func write(f *os.File, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("write %d bytes to the other side: %w", len(b), unix.EMSGSIZE)
	}
	_, err = f.Write(b)
	return err
}

// read receives one message; io.EOF when the other side is gone.
func read(f *os.File, buf []byte, v any) error {
	n, err := f.Read(buf)
	if errors.Is(err, unix.ECONNRESET) {
		return io.EOF
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	if n == len(buf) {
		return fmt.Errorf("read from the other side: %w", unix.EMSGSIZE)
	}
	return json.Unmarshal(buf[:n], v)
}

// socketPair makes two ends of packets; both are not blocking, so that Close
// and deadlines reach who waits for them.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "unpack"), os.NewFile(uintptr(fds[1]), "unpack"), nil
}
