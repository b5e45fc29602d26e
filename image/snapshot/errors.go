package snapshot

import (
	"errors"
	"fmt"

	"berth/base/fault"

	"github.com/containerd/errdefs"
)

// classed is an error that containerd's errdefs knows as class.
type classed struct {
	error
	class error
}

func (c *classed) Unwrap() error        { return c.error }
func (c *classed) Is(target error) bool { return target == c.class }

// refuse makes an error that both fault and errdefs can tell the kind of.
func refuse(kind fault.Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	switch kind {
	case fault.NotFound:
		err = &classed{err, errdefs.ErrNotFound}
	case fault.Exists:
		err = &classed{err, errdefs.ErrAlreadyExists}
	case fault.Invalid:
		err = &classed{err, errdefs.ErrInvalidArgument}
	case fault.Conflict:
		err = &classed{err, errdefs.ErrFailedPrecondition}
	case fault.Unsupported:
		err = &classed{err, errdefs.ErrNotImplemented}
	}
	return fault.Wrap(kind, err)
}

// broken marks a record that cannot be read: it is no snapshot, and a new one
// may take its place.
type broken struct{ err error }

func (b *broken) Error() string { return b.err.Error() }
func (b *broken) Unwrap() error { return b.err }

// unsure marks a record whose commit may not have reached the disk before the
// machine stopped. It is no snapshot either, but names a folder.
type unsure struct {
	err error
	rec *record
}

func (u *unsure) Error() string { return u.err.Error() }
func (u *unsure) Unwrap() error { return u.err }

// replaceable reports whether err of a load leaves the name free for a new
// snapshot, and gives the record that is in the way, if one could be read.
func replaceable(err error) (*record, bool) {
	var u *unsure
	if errors.As(err, &u) {
		return u.rec, true
	}
	var b *broken
	return nil, errors.As(err, &b) || errors.Is(err, errdefs.ErrNotFound)
}

func isConflict(err error) bool { return errors.Is(err, errdefs.ErrFailedPrecondition) }
