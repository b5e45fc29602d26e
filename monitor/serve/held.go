package serve

import (
	"golang.org/x/sys/unix"
)

// held are sockets that are kept open: published ports. They lie in a message of a
// socket pair, which is all that stands in the table of descriptors: a child on the
// way to its program has a copy of that table, and would keep a port taken that the
// monitor has let go of.
type held struct {
	pair  [2]int
	count int
}

// keep takes over sockets, in the place of those before. On an error they are the
// caller's, and none is held.
func (h *held) keep(fds []int) error {
	h.drop()
	if len(fds) == 0 {
		return nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &fault{"hold sockets", err}
	}
	for {
		err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		closeAll(pair[:])
		return &fault{"hold sockets", err}
	}
	closeAll(fds)
	h.pair, h.count = pair, len(fds)
	return nil
}

// copies are descriptors of the sockets, for the caller to close.
func (h *held) copies() ([]int, error) {
	if h.count == 0 {
		return nil, nil
	}
	_, fds, err := receive(h.pair[1], unix.MSG_PEEK)
	if err == nil && len(fds) != h.count { // no room in the table
		closeAll(fds)
		err = unix.EMFILE
	}
	if err != nil {
		return nil, &fault{"copy held sockets", err}
	}
	return fds, nil
}

// drop lets go of all. They are taken out first: a child may have the pair.
func (h *held) drop() {
	if h.count == 0 {
		return
	}
	if _, fds, err := receive(h.pair[1], 0); err == nil {
		closeAll(fds)
	}
	closeAll(h.pair[:])
	h.count = 0
}
