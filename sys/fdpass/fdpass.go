// Package fdpass sends and receives file descriptors over AF_UNIX sockets:
// SCM_RIGHTS of unix(7).
//
// It knows nothing of what the descriptors are or mean. It links neither fmt
// nor net, so that the helper can use it. Row 1.
package fdpass

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// MaxFDs is how many descriptors one message can carry (SCM_MAX_FD).
const MaxFDs = 253

// MaxText bounds the text that Receive accepts.
const MaxText = 4096

// Send writes one message: text, which may not be empty on a stream socket,
// and descriptors, which stay the caller's. Errors are os.SyscallError.
func Send(sock int, text []byte, fds ...int) error {
	if len(fds) > MaxFDs {
		return errors.New("sendmsg: too many descriptors")
	}
	oob := unix.UnixRights(fds...)
	for {
		n, err := unix.SendmsgN(sock, text, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
		if n == len(text) {
			return nil
		}
		text, oob = text[n:], nil
	}
}

// Receive reads one message with exactly want descriptors, which it makes
// close-on-exec. On any error none stays open. io.EOF is reported as an error
// text of its own: the other side closed the socket.
func Receive(sock, want int) (text []byte, fds []int, err error) {
	text, fds, err = ReceiveAny(sock)
	if err == nil && len(fds) != want {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, errors.New("recvmsg: wrong number of descriptors")
	}
	return text, fds, err
}

// ReceiveAny is Receive of a message with any number of descriptors.
func ReceiveAny(sock int) (text []byte, fds []int, err error) {
	buf := make([]byte, MaxText)
	oob := make([]byte, unix.CmsgSpace(4*MaxFDs))
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	fds, err = rights(oob[:oobn])
	switch {
	case err != nil:
	case flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0:
		err = errors.New("recvmsg: message was cut short")
	case n == 0 && len(fds) == 0:
		err = errors.New("recvmsg: the other side closed the socket")
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, err
	}
	return buf[:n], fds, nil
}

// rights gathers the descriptors of all control messages.
func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range msgs {
		if msgs[i].Header.Level != unix.SOL_SOCKET || msgs[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fds, os.NewSyscallError("recvmsg", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
