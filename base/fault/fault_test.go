package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"berth/base/fault"
)

func TestKindOf(t *testing.T) {
	_, openErr := os.Open("/nonexistent/berth")
	invalid := fault.New(fault.Invalid, "field %s: %w", "root.path", syscall.ENOENT)
	cases := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"nil", nil, fault.Unknown},
		{"plain", errors.New("boom"), fault.Unknown},
		{"new", fault.New(fault.NotFound, "container %s", "a"), fault.NotFound},
		{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", fault.New(fault.Conflict, "x"))), fault.Conflict},
		{"outermost wins over errno", invalid, fault.Invalid},
		{"outermost kind wins", fault.Wrap(fault.Busy, invalid), fault.Busy},
		{"path error of the kernel", openErr, fault.NotFound},
		{"EPERM", fmt.Errorf("mount: %w", syscall.EPERM), fault.Permission},
		{"EACCES", syscall.EACCES, fault.Permission},
		{"ENOSPC", os.NewSyscallError("write", syscall.ENOSPC), fault.NoSpace},
		{"EDQUOT", syscall.EDQUOT, fault.NoSpace},
		{"ENOSYS", syscall.ENOSYS, fault.Unsupported},
		{"EOPNOTSUPP", syscall.EOPNOTSUPP, fault.Unsupported},
		{"EBUSY", syscall.EBUSY, fault.Busy},
		{"EEXIST", syscall.EEXIST, fault.Exists},
		{"fs sentinel", fs.ErrExist, fault.Exists},
		{"EIO stays unknown", syscall.EIO, fault.Unknown},
		{"joined: first with a kind", errors.Join(errors.New("x"), syscall.EBUSY, syscall.EPERM), fault.Busy},
		{"a kind itself", fmt.Errorf("x: %w", fault.Unavailable), fault.Unavailable},
	}
	for _, c := range cases {
		if got := fault.KindOf(c.err); got != c.want {
			t.Errorf("%s: KindOf(%v) = %v, want %v", c.name, c.err, got, c.want)
		}
		if c.err != nil && !fault.Is(c.err, c.want) {
			t.Errorf("%s: Is(%v, %v) = false", c.name, c.err, c.want)
		}
	}
	if fault.Is(nil, fault.Unknown) {
		t.Error("Is(nil, Unknown) = true: no error is no kind of error")
	}
}

func TestChainStaysVisible(t *testing.T) {
	err := fmt.Errorf("start c1: %w", fault.New(fault.Permission, "mount proc on /proc: %w", syscall.EPERM))
	if got, want := err.Error(), "start c1: mount proc on /proc: operation not permitted"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if !errors.Is(err, syscall.EPERM) || !errors.Is(err, fs.ErrPermission) {
		t.Error("the errno below the kind is not visible to errors.Is")
	}
	if !errors.Is(err, fault.Permission) || errors.Is(err, fault.Busy) {
		t.Error("errors.Is with a Kind as target is wrong")
	}
	var no syscall.Errno
	if !errors.As(err, &no) || no != syscall.EPERM {
		t.Errorf("errors.As(Errno) = %v", no)
	}
	if fault.Cause(err) != error(syscall.EPERM) {
		t.Errorf("Cause = %v", fault.Cause(err))
	}
	if fault.Wrap(fault.Busy, nil) != nil {
		t.Error("Wrap(nil) is not nil")
	}
}

func TestKindsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for k := fault.NotFound; k <= fault.Conflict; k++ {
		if s := k.String(); s == "unknown" || seen[s] {
			t.Errorf("kind %d has no word of its own: %q", k, s)
		} else {
			seen[s] = true
		}
	}
}
