package engine

import (
	"regexp"
	"strings"
	"time"

	"berth/base/fault"
)

// What the values of --filter mean, in lists and prunes of all kinds.

// HasLabel tells whether labels, or an event's attributes, have KEY or KEY=VALUE.
func HasLabel(labels map[string]string, wanted string) bool {
	key, value, exact := strings.Cut(wanted, "=")
	have, ok := labels[key]
	return ok && (!exact || have == value)
}

// MatchesName takes a filter as the regular expression that it is; one that is none
// stands for itself.
func MatchesName(pattern, name string) bool {
	found, err := regexp.MatchString(pattern, name)
	return err == nil && found || pattern == name
}

// UntilTime is a time, or how long ago. Kind Invalid.
func UntilTime(s string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "failed to parse value as time or duration: %q", s)
	}
	return time.Now().Add(-d), nil
}
