// Package netlink talks rtnetlink(7) with the kernel: the messages for links
// and addresses, in any network namespace.
//
// It is no firewall and knows nothing of which device belongs where. Row 1.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a route socket in one network namespace. It is for one goroutine.
type Conn struct {
	fd  int
	seq uint32
	buf []byte
}

// timeout bounds one answer; the kernel gives it at once, or after rtnl.
const timeout = 30 * time.Second

// Open opens a socket in the caller's network namespace.
func Open() (*Conn, error) { return open(unix.NETLINK_ROUTE) }

func open(protocol int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	tv := unix.NsecToTimeval(int64(timeout))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	// Both make answers better and may be missing.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &Conn{fd: fd, buf: make([]byte, 64<<10)}, nil
}

// OpenIn opens a socket in the network namespace netns, a file of nsfs. It
// takes CAP_SYS_ADMIN over that namespace and the caller's own.
func OpenIn(netns *os.File) (c *Conn, err error) {
	err = Inside(netns, func() error {
		c, err = Open()
		return err
	})
	return c, err
}

// Inside runs f in the network namespace netns, on a thread that nobody else
// uses meanwhile; f must not start goroutines that rely on it. It takes the
// rights of OpenIn.
func Inside(netns *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer own.Close()
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace %s: %w", netns.Name(), err)
			return
		}
		err = f()
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with the goroutine, and serves nobody else
		done <- err
	}()
	return <-done
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Message is one answer: its type and what follows the header.
type Message struct {
	Type uint16
	Data []byte
}

const headerSize = 16

// Do sends a request and gathers its answers until the acknowledgement. The
// error unwraps to a syscall.Errno, with the kernel's own words if it gave any.
func (c *Conn) Do(kind, flags uint16, payload []byte) ([]Message, error) {
	c.seq++
	msg := make([]byte, headerSize, headerSize+len(payload))
	binary.NativeEndian.PutUint32(msg[0:], uint32(headerSize+len(payload)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(msg[8:], c.seq)
	msg = append(msg, payload...)
	if err := c.send(msg); err != nil {
		return nil, err
	}
	var all []Message
	for {
		n, err := c.receive(0)
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		got, done, err := parse(c.buf[:n], c.seq)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if done {
			return all, nil
		}
	}
}

func (c *Conn) send(msg []byte) error {
	for {
		err := unix.Sendto(c.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// receive reads what the kernel says into the buffer.
func (c *Conn) receive(flags int) (int, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, flags)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if nl, ok := from.(*unix.SockaddrNetlink); ok && nl.Pid == 0 {
			return n, nil
		}
	}
}

var errShort = errors.New("netlink: message is cut short")

// parse splits what one read gave; done is the end of the answer to seq.
func parse(b []byte, seq uint32) (list []Message, done bool, err error) {
	for len(b) >= headerSize {
		size := binary.NativeEndian.Uint32(b)
		if size < headerSize || uint64(size) > uint64(len(b)) {
			return nil, false, errShort
		}
		kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		body := b[headerSize:size]
		if binary.NativeEndian.Uint32(b[8:]) == seq {
			switch kind {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if err := status(kind, flags, body); err != nil {
					return nil, false, err
				}
				return list, true, nil
			case unix.NLMSG_NOOP:
			default:
				list = append(list, Message{kind, append([]byte(nil), body...)})
			}
		}
		b = b[min(align(int(size)), len(b)):]
	}
	return list, false, nil
}

// status reads the end of an answer; extended acknowledgements carry a text.
func status(kind, flags uint16, body []byte) error {
	if len(body) < 4 {
		if kind == unix.NLMSG_DONE {
			return nil
		}
		return errShort
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code >= 0 {
		return nil
	}
	errno := unix.Errno(-code)
	if flags&unix.NLM_F_ACK_TLVS == 0 || kind != unix.NLMSG_ERROR {
		return errno
	}
	// After the code comes the request's header, and unless capped all of it.
	rest := body[4:]
	if len(rest) < headerSize {
		return errno
	}
	skip := headerSize
	if flags&unix.NLM_F_CAPPED == 0 {
		skip = align(int(min(binary.NativeEndian.Uint32(rest), 1<<20)))
	}
	if skip > len(rest) {
		return errno
	}
	for _, a := range Attributes(rest[skip:]) {
		if a.Type == unix.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w (%s)", errno, a.String())
		}
	}
	return errno
}

func align(n int) int { return (n + 3) &^ 3 }

// Attribute is one route attribute.
type Attribute struct {
	Type uint16
	Data []byte
}

// String is the attribute's value as a C string.
func (a Attribute) String() string {
	for i, b := range a.Data {
		if b == 0 {
			return string(a.Data[:i])
		}
	}
	return string(a.Data)
}

// Uint32 is the attribute's value as a number, 0 if it has another size.
func (a Attribute) Uint32() uint32 {
	if len(a.Data) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.Data)
}

// Attributes splits a list of attributes; what is malformed ends it.
func Attributes(b []byte) (list []Attribute) {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return list
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		list = append(list, Attribute{kind, b[4:size]})
		b = b[min(align(size), len(b)):]
	}
	return list
}

// Append adds an attribute to b, whose size must be a multiple of 4.
func Append(b []byte, kind uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, align(len(data))-len(data))...)
}

// AppendString adds a C string.
func AppendString(b []byte, kind uint16, s string) []byte {
	return Append(b, kind, append([]byte(s), 0))
}

// AppendUint32 adds a number.
func AppendUint32(b []byte, kind uint16, v uint32) []byte {
	return Append(b, kind, binary.NativeEndian.AppendUint32(nil, v))
}
