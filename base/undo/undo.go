// Package undo remembers how to take back what a verb has done so far, and
// does it in reverse when the verb fails. It is not a transaction log: nothing
// is written down, and a process that is killed undoes nothing. Row 0 (base):
// standard library only.
//
// Each acquired resource has its undo on the next line:
//
//	func create(…) (err error) {
//		var u undo.Stack
//		defer u.Unwind(&err)
//
//		if err := os.Mkdir(dir, 0o700); err != nil { … }
//		u.Push("remove "+dir, func() error { return os.Remove(dir) })
//		…
//		return nil // Unwind does nothing when err is nil
//	}
package undo

import "fmt"

// Stack is a list of undo steps. The zero value is ready. A Stack belongs to
// one goroutine.
type Stack struct {
	steps []step
}

type step struct {
	name string
	undo func() error
}

// Push adds a step. The name says what the step does ("unmount /x"); it stands
// in the error when the step fails.
func (s *Stack) Push(name string, undo func() error) {
	s.steps = append(s.steps, step{name, undo})
}

// Release forgets all steps: what was done stays.
func (s *Stack) Release() { s.steps = nil }

// Unwind is to be deferred. If *err is not nil, or the function panics, it
// runs the steps in reverse, all of them even when some fail, and empties the
// stack. A failed step is added to *err on the same line; the first error and
// its kind stay in front. A panic goes on after the steps have run.
func (s *Stack) Unwind(err *error) {
	if r := recover(); r != nil {
		_ = s.run(nil)
		panic(r)
	}
	if *err == nil {
		s.steps = nil
		return
	}
	*err = s.run(*err)
}

// run empties the stack from its top and returns err with what went wrong.
func (s *Stack) run(err error) error {
	for len(s.steps) > 0 {
		last := s.steps[len(s.steps)-1]
		s.steps = s.steps[:len(s.steps)-1]
		if failed := last.undo(); failed != nil {
			err = join(err, last.name, failed)
		}
	}
	return err
}

// join keeps one line, unlike errors.Join, and keeps both errors reachable.
func join(err error, name string, failed error) error {
	if err == nil {
		return fmt.Errorf("undo: %s: %w", name, failed)
	}
	return fmt.Errorf("%w (undo: %s: %w)", err, name, failed)
}
