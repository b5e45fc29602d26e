package initproc

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/codec"
)

// Limits of one encoded plan. A plan is made by our own parent side; the limits
// end a runaway, not an attacker.
const (
	maxPlanBytes = 64 << 20
	// MaxSteps is how many steps, or descriptors, a plan can have.
	MaxSteps = 1 << 16
)

type coder = codec.Coder

func wireFD(c *coder, v *FD) {
	x := int64(*v)
	c.I64(&x)
	*v = FD(x)
}

// Encode turns a plan into bytes for Decode of the same build.
func Encode(p *Plan) []byte {
	c := &coder{Buf: make([]byte, 0, 16<<10)}
	n := uint64(len(p.Steps))
	c.U64(&n)
	for _, s := range p.Steps {
		o := uint64(s.op())
		c.U64(&o)
		s.wire(c)
	}
	return c.Buf
}

// Decode is the inverse of Encode. It fails on truncated input, unknown steps
// and bytes left over.
func Decode(b []byte) (*Plan, error) {
	if len(b) > maxPlanBytes {
		return nil, errors.New("plan is larger than " + strconv.Itoa(maxPlanBytes) + " bytes")
	}
	c := codec.Decode(b)
	var n uint64
	c.U64(&n)
	if n > MaxSteps || n > uint64(len(b)) {
		return nil, codec.ErrTruncated
	}
	p := &Plan{Steps: make([]Step, 0, n)}
	for range n {
		var o uint64
		c.U64(&o)
		if c.Err != nil {
			return nil, c.Err
		}
		s := newStep(op(o))
		if s == nil {
			return nil, errors.New("plan has unknown step " + strconv.FormatUint(o, 10))
		}
		s.wire(c)
		if c.Err != nil {
			return nil, c.Err
		}
		p.Steps = append(p.Steps, s)
	}
	if len(c.Buf) != 0 {
		return nil, errors.New("plan has bytes left over")
	}
	return p, nil
}

// fdsPerMessage is below SCM_MAX_FD (253, unix(7)).
const fdsPerMessage = 128

// Send hands an encoded plan and its descriptors to the helper behind sock:
// first uint32 counts of bytes and descriptors, then one byte per message of up
// to fdsPerMessage descriptors, then the bytes. The descriptors stay the
// caller's. It fails with EPIPE when the process of pidfd has ended and will
// read no more, which the socket does not tell while the caller holds its other
// end, too.
func Send(sock, pidfd int, plan []byte, fds []int) error {
	head := appendU32(appendU32(nil, uint32(len(plan))), uint32(len(fds)))
	to := receiver{sock, pidfd}
	if err := to.send(head, nil); err != nil {
		return err
	}
	for len(fds) > 0 {
		n := min(len(fds), fdsPerMessage)
		if err := to.send([]byte{0}, unix.UnixRights(fds[:n]...)); err != nil {
			return err
		}
		fds = fds[n:]
	}
	return to.send(plan, nil)
}

func sendAll(sock int, b, oob []byte) error { return receiver{sock, -1}.send(b, oob) }

// receiver is who reads at the other end.
type receiver struct{ sock, pidfd int }

func (r receiver) send(b, oob []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(r.sock, b, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			b, oob = b[n:], nil
		case unix.EINTR:
		case unix.EAGAIN:
			err = r.wait()
		}
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
	return nil
}

// wait blocks until there is room in the socket, or nobody to make it.
func (r receiver) wait() error {
	fds := []unix.PollFd{{Fd: int32(r.sock), Events: unix.POLLOUT}, {Fd: int32(r.pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == nil {
			break
		} else if err != unix.EINTR {
			return err
		}
	}
	if fds[0].Revents == 0 && fds[1].Revents != 0 {
		return unix.EPIPE
	}
	return nil
}

// receive is the helper's side of Send.
func (p *process) receive() (*Plan, error) {
	var head [8]byte
	if err := readFull(p.sock, head[:]); err != nil {
		return nil, err
	}
	size, count := readU32(head[:]), readU32(head[4:])
	if size > maxPlanBytes || count > MaxSteps {
		return nil, errors.New("plan is too large")
	}
	p.fds = make([]int, 0, count)
	oob := make([]byte, unix.CmsgSpace(4*fdsPerMessage))
	for len(p.fds) < int(count) {
		var b [1]byte
		_, n, _, _, err := unix.Recvmsg(p.sock, b[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(msgs) != 1 {
			return nil, errors.New("descriptors are missing")
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil {
			return nil, err
		}
		p.fds = append(p.fds, fds...)
	}
	buf := make([]byte, size)
	if err := readFull(p.sock, buf); err != nil {
		return nil, err
	}
	return Decode(buf)
}

func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("the parent went away")
		}
		b = b[n:]
	}
	return nil
}
