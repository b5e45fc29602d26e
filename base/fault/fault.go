// Package fault gives errors a kind, so that one table per dialect can turn
// them into exit codes and status codes. It is not a logger and it holds no
// messages of its own: the text of an error is what was tried, on what, and
// why it failed. Row 0 (base): standard library only.
//
// A kind is set where the error is born, or derived from the errno that the
// kernel gave. On the way up, callers add words with fmt.Errorf and %w; the
// kind stays:
//
//	return fault.New(fault.NotFound, "container %s does not exist", id)
//	…
//	return fmt.Errorf("delete %s: %w", id, err)     // still NotFound
//	…
//	switch fault.KindOf(err) { case fault.NotFound: … }
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is. A Kind is itself an error, so
// errors.Is(err, fault.NotFound) works on errors made by New and Wrap; to also
// see kinds that come from an errno, use Is or KindOf.
type Kind uint8

// The kinds. Unknown is the zero value: nothing is known but the text.
const (
	Unknown     Kind = iota
	NotFound         // the thing named is not there
	Exists           // the thing to be made is there already
	Invalid          // what was asked makes no sense, or a file is malformed
	Permission       // the caller or this process may not
	NoSpace          // disk, inodes or quota are used up
	Unsupported      // this kernel, machine or build cannot do it
	Busy             // in use now; the same call may work later
	Unavailable      // a resource or service is missing for the moment
	Conflict         // the thing is in a state in which this verb is wrong
)

// String returns the kind in plain words.
func (k Kind) String() string {
	switch k {
	case NotFound:
		return "not found"
	case Exists:
		return "already exists"
	case Invalid:
		return "invalid"
	case Permission:
		return "permission denied"
	case NoSpace:
		return "no space"
	case Unsupported:
		return "not supported"
	case Busy:
		return "busy"
	case Unavailable:
		return "unavailable"
	case Conflict:
		return "conflict"
	default:
		return "unknown"
	}
}

// Error makes a Kind usable as a target of errors.Is.
func (k Kind) Error() string { return k.String() }

// kinded is an error with a kind. Its text is the text of err alone.
type kinded struct {
	kind Kind
	err  error
}

func (e *kinded) Error() string { return e.err.Error() }
func (e *kinded) Unwrap() error { return e.err }
func (e *kinded) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.kind
}

// New makes an error of the given kind. The format is that of fmt.Errorf, so
// %w keeps a cause reachable.
func New(kind Kind, format string, args ...any) error {
	return &kinded{kind: kind, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind without changing its text. It overrides the kind that
// err had, and returns nil for nil.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &kinded{kind: kind, err: err}
}

// Is reports whether KindOf(err) is kind.
func Is(err error, kind Kind) bool {
	return err != nil && KindOf(err) == kind
}

// KindOf returns the kind of err: the outermost one set by New or Wrap, else
// the one that follows from the first errno or io/fs error in the chain, else
// Unknown. In a joined error the first branch that has a kind decides.
func KindOf(err error) Kind {
	if err == nil {
		return Unknown
	}
	if k := kindHere(err); k != Unknown {
		return k
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		return KindOf(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			if k := KindOf(e); k != Unknown {
				return k
			}
		}
	}
	return Unknown
}

// kindHere looks at err itself, not at what it wraps.
func kindHere(err error) Kind {
	switch e := err.(type) {
	case *kinded:
		return e.kind
	case Kind:
		return e
	}
	return kindOfSystem(err)
}

// Cause returns the innermost error of a chain without branches; it is what a
// one-line message ends with.
func Cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
