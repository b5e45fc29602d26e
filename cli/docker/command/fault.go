package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/base/fault"
	"berth/cli/term"
)

// The exit codes of the dialects.
const (
	exitError  = 1
	exitUsage  = 125 // a flag that is none; every error of podman
	exitSignal = 130
)

// Exit is an error with an exit code of its own; without Err nothing is said.
type Exit struct {
	Code int
	Err  error
	// Kept: the code is a container's and stays, whatever else happened.
	Kept bool
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}
func (e *Exit) Unwrap() error { return e.Err }

// engineError is an error that docker's daemon would have sent.
type engineError struct{ err error }

func (e *engineError) Error() string { return e.err.Error() }
func (e *engineError) Unwrap() error { return e.err }

// FromEngine marks an error as the engine's: docker says so in front of it.
// It returns nil for nil.
func FromEngine(err error) error {
	if err == nil {
		return nil
	}
	return &engineError{err}
}

// Existing is the end of podman's exists verbs, which looked for one thing: exit
// code 1, without a word, if it is not there.
func Existing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return &Exit{Code: 1}
	}
	return FromEngine(err)
}

// IsFromEngine reports whether an error is one that docker's daemon would have
// sent.
func IsFromEngine(err error) bool {
	var e *engineError
	return errors.As(err, &e)
}

// Line is an error in a dialect's own words, which scripts compare: they may
// begin with a capital letter and end with a full stop.
func Line(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Report prints an error as the dialect does and gives its exit code.
func Report(w io.Writer, d Dialect, err error) int {
	if err == nil {
		return 0
	}
	code := exitError
	if d == Podman {
		code = exitUsage
	}
	var flag *flagError
	if errors.As(err, &flag) {
		code = exitUsage
	}
	var exit *Exit
	if errors.As(err, &exit) {
		code = exit.Code
		if exit.Err == nil {
			return code
		}
	}
	for _, one := range branches(err) {
		fmt.Fprintln(w, term.CleanText(text(d, one)))
	}
	return code
}

// branches are the errors that were joined, each gets a line.
func branches(err error) []error {
	var joined interface{ Unwrap() []error }
	if e, ok := err.(*Exit); ok {
		err = e.Err
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		joined = j
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, branches(e)...)
		}
		return out
	}
	return []error{err}
}

const saysError = "Error: "

func text(d Dialect, err error) string {
	var count *countError
	if d == Podman {
		if errors.As(err, &count) {
			return saysError + count.podman()
		}
		s := err.Error()
		var flag *flagError
		if errors.As(err, &flag) {
			s = strings.TrimSuffix(s, ".")
		}
		return saysError + strings.TrimPrefix(s, saysError)
	}
	var fromEngine *engineError
	switch {
	case !errors.As(err, &fromEngine):
		return err.Error()
	case d == Docker:
		return "Error response from daemon: " + err.Error()
	default:
		return saysError + strings.TrimPrefix(err.Error(), saysError)
	}
}
