package takeover

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Patience with a lock that podman holds: it does so while it unpacks a layer.
const (
	lockWait  = 60 * time.Second
	lockPause = 20 * time.Millisecond
)

// lock takes a lock file of containers/storage for reading, if it is there:
// a record lock over the whole file (fcntl(2)), ours bound to the descriptor.
func (s *Store) lock(ctx context.Context, name string) (unlock func() error, err error) {
	f, _, err := s.regular(name)
	if fault.Is(err, fault.NotFound) {
		return func() error { return nil }, nil // a copy of a store
	}
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; {
		// A lock is one of a kind; the kernel wants Pid to be 0.
		how := unix.Flock_t{Type: unix.F_RDLCK}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &how)
		if err == nil {
			return f.Close, nil
		}
		if err != unix.EAGAIN && err != unix.EACCES && err != unix.EINTR {
			return nil, errors.Join(fault.New(fault.Unknown, "lock %s: %w", f.Name(), err), f.Close())
		}
		if time.Now().After(end) {
			return nil, errors.Join(fault.New(fault.Busy, "lock %s: podman has changed its store for %v", f.Name(), lockWait), f.Close())
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}
