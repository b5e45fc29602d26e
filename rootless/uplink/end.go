package uplink

import (
	"bytes"
	"errors"
	"io"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// end is the stack's end of a connection or flow, with calls that wait. One goroutine may
// read and another write.
type end struct {
	tcpip.Endpoint
	readable, writable <-chan struct{}
}

func newEnd(e tcpip.Endpoint, q *waiter.Queue) *end {
	const over = waiter.EventErr | waiter.EventHUp
	in, readable := waiter.NewChannelEntry(waiter.ReadableEvents | over)
	out, writable := waiter.NewChannelEntry(waiter.WritableEvents | over)
	q.EventRegister(&in)
	q.EventRegister(&out)
	return &end{e, readable, writable}
}

// next reads what has come: io.EOF after the last of it. It has a buffer of the pool only
// when there is something, and gives it to use.
func (e *end) next(p *pool, use func([]byte) error) error {
	for {
		b := p.get()
		w := tcpip.SliceWriter((*b)[:])
		r, err := e.Read(&w, tcpip.ReadOptions{})
		if err == nil {
			failed := use((*b)[:r.Count])
			p.put(b)
			return failed
		}
		p.put(b)
		switch err.(type) {
		case *tcpip.ErrWouldBlock:
			<-e.readable
		case *tcpip.ErrClosedForReceive:
			return io.EOF
		default:
			return errors.New(err.String())
		}
	}
}

// write sends all, and waits for room.
func (e *end) write(b []byte) error {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		_, err := e.Write(r, tcpip.WriteOptions{})
		if _, full := err.(*tcpip.ErrWouldBlock); full {
			<-e.writable
		} else if err != nil {
			return errors.New(err.String())
		}
	}
	return nil
}
