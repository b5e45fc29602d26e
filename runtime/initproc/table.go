package initproc

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// fdsPerMessage is below SCM_MAX_FD (253, unix(7)).
const fdsPerMessage = 128

// Send hands an encoded plan and its descriptors to the helper behind sock:
// first uint32 counts of bytes and descriptors, then one byte per message of up
// to fdsPerMessage descriptors, then the bytes. The descriptors stay the
// caller's.
func Send(sock int, plan []byte, fds []int) error {
	head := appendU32(appendU32(nil, uint32(len(plan))), uint32(len(fds)))
	if err := sendAll(sock, head, nil); err != nil {
		return err
	}
	for len(fds) > 0 {
		n := min(len(fds), fdsPerMessage)
		if err := sendAll(sock, []byte{0}, unix.UnixRights(fds[:n]...)); err != nil {
			return err
		}
		fds = fds[n:]
	}
	return sendAll(sock, plan, nil)
}

func sendAll(sock int, b, oob []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(sock, b, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
		b, oob = b[n:], nil
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
	if size > maxPlanBytes || count > maxSteps {
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
