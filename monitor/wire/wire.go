// Package wire is what engine and monitor say to each other: small binary
// messages over SOCK_SEQPACKET sockets, descriptors beside them.
//
// A request is one message, an operation and its fields; its answer is one
// message too. Both programs are of one build, except that a monitor may be
// older than the engine that calls: Version stands in the first message of each
// connection, and operations and fields are only ever added at the end.
//
// It does no input or output, and links neither fmt nor encoding/json. Row 4.
package wire

import (
	"errors"

	"berth/base/codec"
)

type coder = codec.Coder

var errTrailing = errors.New("the message goes on after its end")

// Version is the version of these messages.
const Version = 1

// MaxMessage bounds one message. Descriptors come beside it, at most 253.
const MaxMessage = 64 << 10

// Op is what a request asks for.
type Op byte

// The operations. In brackets: the descriptors that come along.
const (
	OpConfigure Op = iota + 1 // Config, once, from the process that started the monitor
	OpPrepare                 // a first process shall be made, again perhaps
	OpClone                   // Clone [its descriptors] → Cloned
	OpSpoken                  // Child
	OpAbandon                 // Child
	OpAdopt                   // Adopt [terminal, OOM files]
	OpSession                 // Session [terminal or streams to drain]
	OpAttach                  // Attach [streams]
	OpWatch                   // Watch [socket]
	OpResize                  // Resize
	OpStatus                  // nothing → Status
	OpVerdict                 // Verdict, on the socket of a Watch
	OpDismiss                 // nothing
	OpSignal                  // Signal
	OpHold                    // nothing [sockets to keep open instead of those before]
	OpHeld                    // nothing → Held [the sockets]
	OpBeside                  // nothing [a socket to watch instead of the one before]
	OpRelay                   // nothing [none, or what to watch instead of the one before, which is to end]
)

// Message is a part of a request or of an answer.
type Message interface{ wire(*coder) }

// Nothing is the empty message.
type Nothing struct{}

func (*Nothing) wire(*coder) {}

// Request encodes an operation.
func Request(op Op, m Message) []byte {
	c := coder{Buf: append(make([]byte, 0, 256), byte(op))}
	m.wire(&c)
	return c.Buf
}

// Decode reads all of b into m.
func Decode(b []byte, m Message) error {
	c := codec.Decode(b)
	m.wire(c)
	if c.Err == nil && len(c.Buf) > 0 {
		c.Err = errTrailing
	}
	return c.Err
}

// Answer encodes a success.
func Answer(m Message) []byte {
	c := coder{Buf: []byte{0}}
	m.wire(&c)
	return c.Buf
}

// Failure encodes a failure: an errno, 0 if none, and words.
func Failure(errno int, text string) []byte {
	if len(text) > MaxMessage/2 {
		text = text[:MaxMessage/2]
	}
	c := coder{Buf: []byte{1}}
	c.Int(&errno)
	c.Str(&text)
	return c.Buf
}

// Failed is a failure as it is read from an answer.
type Failed struct {
	Errno int
	Text  string
}

func (f *Failed) wire(c *coder) { c.Int(&f.Errno); c.Str(&f.Text) }

// ReadAnswer reads an answer into m, or says why it failed.
func ReadAnswer(b []byte, m Message) (*Failed, error) {
	if len(b) == 0 {
		return nil, codec.ErrTruncated
	}
	if b[0] == 0 {
		return nil, Decode(b[1:], m)
	}
	f := &Failed{}
	return f, Decode(b[1:], f)
}

// Names of files in the run folder of a container.
const (
	Socket = "monitor.sock"
	Stdin  = "stdin"
	Stdout = "stdout"
	Stderr = "stderr"
	// ExitFact is the exit fact: one line of JSON, {"version":1, "pid", "code",
	// "signal", "oom", "lost", "incomplete", "time"}; time as RFC 3339 in UTC.
	ExitFact = "exit.json"
)

// Event encodes a message that answers nothing.
func Event(m Message) []byte {
	var c coder
	m.wire(&c)
	return c.Buf
}
