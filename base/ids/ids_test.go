package ids_test

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/base/fault"
	"berth/base/ids"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", ids.MaxLen)
	for _, ok := range []string{"a", "web-1", "A_b.c+d", "...", ".x", "-rm", "0", long} {
		if id, err := ids.Parse(ok); err != nil || string(id) != ok {
			t.Errorf("Parse(%q) = %q, %v; want it allowed", ok, id, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a b", "a\x00", "a\n", "é", "a:b", "a@b", "~", long + "a"} {
		id, err := ids.Parse(bad)
		if !fault.Is(err, fault.Invalid) || id != "" {
			t.Errorf("Parse(%.20q) = %q, %v; want kind Invalid", bad, id, err)
			continue
		}
		if msg := err.Error(); strings.ContainsAny(msg, "\n\x00") || len(msg) > 400 {
			t.Errorf("Parse(%.20q): not a short single line: %q", bad, msg)
		}
	}
}

func TestNew(t *testing.T) {
	a, b := ids.New(), ids.New()
	if a == b || len(a) != 64 {
		t.Errorf("New: %q and %q", a, b)
	}
	if _, err := ids.Parse(string(a)); err != nil {
		t.Errorf("New made an id that Parse refuses: %v", err)
	}
	if h := ids.Hex(4); len(h) != 8 {
		t.Errorf("Hex(4) = %q", h)
	}
}

// FuzzParse: whatever Parse lets through is exactly one path element.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a", "..", "a/../b", "x\x00y", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ids.Parse(s)
		if err != nil {
			return
		}
		if p := filepath.Join("/run/berth", string(id)); filepath.Dir(p) != "/run/berth" || filepath.Base(p) != s {
			t.Errorf("Parse(%q) passed, but joins to %s", s, p)
		}
	})
}
