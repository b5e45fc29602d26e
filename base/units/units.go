// Package units reads sizes as people write them on a command line ("512m",
// "1.5GiB"). It does not print tables and knows no times. Row 0 (base):
// standard library only.
package units

import (
	"math"
	"strconv"
	"strings"

	"berth/base/fault"
)

// ParseBytes reads a size in bytes. A number, optionally with a fraction, may
// be followed by b, k, m, g, t or p in either case, and that by b or ib; all
// are powers of 1024, as on docker's and runc's command lines. Blanks between
// number and unit are allowed. A fraction of a byte is cut off. Signs,
// exponents and values of 2^63 and more give kind Invalid.
func ParseBytes(s string) (int64, error) {
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.') {
		end++
	}
	factor, ok := unit(strings.TrimLeft(s[end:], " "))
	if !ok {
		return 0, invalid(s)
	}
	if n, err := strconv.ParseInt(s[:end], 10, 64); err == nil {
		if n > math.MaxInt64/factor {
			return 0, fault.New(fault.Invalid, "size %q does not fit in 63 bits", clip(s))
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	if err != nil {
		return 0, invalid(s)
	}
	f *= float64(factor)
	if f >= math.MaxInt64 {
		return 0, fault.New(fault.Invalid, "size %q does not fit in 63 bits", clip(s))
	}
	return int64(f), nil
}

// unit returns the factor of a suffix.
func unit(suffix string) (int64, bool) {
	suffix = strings.ToLower(suffix)
	if suffix == "" || suffix == "b" {
		return 1, true
	}
	power := strings.IndexByte("kmgtp", suffix[0])
	if power < 0 {
		return 0, false
	}
	switch suffix[1:] {
	case "", "b", "ib":
		return 1 << (10 * (power + 1)), true
	}
	return 0, false
}

func invalid(s string) error {
	return fault.New(fault.Invalid, "size %q is not a number with an optional unit (b, k, m, g, t, p)", clip(s))
}

func clip(s string) string { return s[:min(len(s), 40)] }
