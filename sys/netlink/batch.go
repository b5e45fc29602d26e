package netlink

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Request is one message of a batch.
type Request struct {
	Kind, Flags uint16
	Payload     []byte
	// Quiet asks for no acknowledgement: what frames a netfilter batch.
	Quiet bool
}

// OpenNetfilter opens a netfilter socket in the caller's network namespace. Its
// messages begin with struct nfgenmsg.
func OpenNetfilter() (*Conn, error) { return open(unix.NETLINK_NETFILTER) }

// sendRoom is what a socket sends without more being asked for, in bytes.
const sendRoom = 128 << 10

// DoAll sends requests in one go and gives the error of each, nil where all
// went well. Route requests are carried out one after the other, also after a
// failed one. A netfilter batch is carried out as a whole or not at all; an
// error that concerns the whole stands at its first message. Answers other than
// acknowledgements are dropped.
func (c *Conn) DoAll(list []Request) ([]error, error) {
	first := c.seq + 1
	var msg []byte
	for _, r := range list {
		c.seq++
		flags := r.Flags | unix.NLM_F_REQUEST
		if !r.Quiet {
			flags |= unix.NLM_F_ACK
		}
		msg = binary.NativeEndian.AppendUint32(msg, uint32(headerSize+len(r.Payload)))
		msg = binary.NativeEndian.AppendUint16(msg, r.Kind)
		msg = binary.NativeEndian.AppendUint16(msg, flags)
		msg = binary.NativeEndian.AppendUint32(msg, c.seq)
		msg = binary.NativeEndian.AppendUint32(msg, 0)
		msg = append(msg, r.Payload...)
		msg = append(msg, make([]byte, align(len(r.Payload))-len(r.Payload))...)
	}
	c.widen(len(msg), len(list))
	if err := c.send(msg); err != nil {
		return nil, err
	}
	errs := make([]error, len(list))
	missing := make([]bool, len(list))
	left := 0
	for i, r := range list {
		if missing[i] = !r.Quiet; missing[i] {
			left++
		}
	}
	any := false
	for left > 0 {
		// The kernel has done it all within the sendto, so all answers are here.
		n, err := c.receive(unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		for _, a := range acknowledgements(c.buf[:n]) {
			i := int(int32(a.seq - first))
			if i < 0 || i >= len(list) {
				continue
			}
			if a.err != nil && errs[i] == nil {
				errs[i], any = a.err, true
			}
			if missing[i] {
				missing[i] = false
				left--
			}
		}
	}
	switch {
	case any:
		return errs, nil
	case left > 0:
		return nil, errShort
	}
	return nil, nil
}

// widen asks for larger socket buffers; without the right the smaller ones
// remain, and the kernel says if they do not do.
func (c *Conn) widen(size, answers int) {
	if size > sendRoom {
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*size)
	}
	if answers > 64 {
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 2048*answers)
	}
}

type acknowledgement struct {
	seq uint32
	err error
}

// acknowledgements finds the ends of requests in what one read gave.
func acknowledgements(b []byte) (list []acknowledgement) {
	for len(b) >= headerSize {
		size := binary.NativeEndian.Uint32(b)
		if size < headerSize || uint64(size) > uint64(len(b)) {
			return list
		}
		kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		if kind == unix.NLMSG_ERROR {
			list = append(list, acknowledgement{binary.NativeEndian.Uint32(b[8:]), status(kind, flags, b[headerSize:size])})
		}
		b = b[min(align(int(size)), len(b)):]
	}
	return list
}
