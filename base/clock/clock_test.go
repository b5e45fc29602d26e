package clock_test

import (
	"regexp"
	"testing"

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
