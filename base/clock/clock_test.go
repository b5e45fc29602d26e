package clock_test

import (
	"regexp"
	"testing"
	"time"

	"berth/base/clock"
)

func TestBootID(t *testing.T) {
	a, err := clock.BootID()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(a) {
		t.Errorf("boot id %q is not a UUID", a)
	}
	if b, err := clock.BootID(); err != nil || a != b {
		t.Errorf("second read: %q, %v; want %q", b, err, a)
	}
}

func TestBootTime(t *testing.T) {
	a, err := clock.BootTime()
	if err != nil || a.IsZero() || a.After(time.Now()) || a.Nanosecond() != 0 {
		t.Errorf("%v, %v", a, err)
	}
	if b, err := clock.BootTime(); err != nil || a != b {
		t.Errorf("second read: %v, %v; want %v", b, err, a)
	}
}
