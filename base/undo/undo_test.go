package undo_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/base/fault"
	"berth/base/undo"
)

// verb acquires three things and then ends with fail (or panics).
func verb(ran *[]string, bad string, fail error, crash bool) (err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	for _, name := range []string{"one", "two", "three"} {
		u.Push("take back "+name, func() error {
			*ran = append(*ran, name)
			if name == bad {
				return syscall.EBUSY
			}
			return nil
		})
	}
	if crash {
		panic("crash")
	}
	return fail
}

func TestUnwindRunsInReverseOnlyOnError(t *testing.T) {
	var ran []string
	if err := verb(&ran, "", nil, false); err != nil || len(ran) != 0 {
		t.Errorf("success: err=%v ran=%v, want nothing", err, ran)
	}
	fail := fault.New(fault.NotFound, "no such image")
	if err := verb(&ran, "", fail, false); err != fail {
		t.Errorf("err = %v, want the same error", err)
	}
	if want := []string{"three", "two", "one"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

func TestFailedStepIsTold(t *testing.T) {
	var ran []string
	err := verb(&ran, "two", fault.New(fault.NotFound, "no such image"), false)
	if got, want := err.Error(), "no such image (undo: take back two: device or resource busy)"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if len(ran) != 3 {
		t.Errorf("ran %v: a failed step stopped the others", ran)
	}
	if !errors.Is(err, syscall.EBUSY) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("kind %v; the first error must decide, the second be reachable", fault.KindOf(err))
	}
	if strings.Contains(err.Error(), "\n") {
		t.Error("more than one line")
	}
}

func TestPanicUnwindsToo(t *testing.T) {
	var ran []string
	func() {
		defer func() {
			if r := recover(); r != "crash" {
				t.Errorf("recovered %v, want the panic itself", r)
			}
		}()
		_ = verb(&ran, "", nil, true)
	}()
	if want := []string{"three", "two", "one"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

func TestRelease(t *testing.T) {
	ran := false
	err := func() (err error) {
		var u undo.Stack
		defer u.Unwind(&err)
		u.Push("x", func() error { ran = true; return nil })
		u.Release()
		return errors.New("late")
	}()
	if ran || err == nil {
		t.Errorf("ran=%v err=%v after Release", ran, err)
	}
}
