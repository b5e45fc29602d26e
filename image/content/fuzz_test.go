package content

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// FuzzState: a state that is taken makes sense: its ranges are in order and
// its holes and ranges make up the whole.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"algorithm":"sha256","total":10,"ranged":true,"ranges":[{"start":0,"end":2},{"start":3,"end":9}]}`))
	f.Add([]byte(`{"version":1,"algorithm":"sha512","hashed":3,"hash":"AAAA","boot":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := parseState(b)
		if err != nil {
			return
		}
		last := int64(-1)
		for _, r := range st.Ranges {
			if r.Start <= last || r.End <= r.Start {
				t.Fatalf("ranges %v", st.Ranges)
			}
			last = r.End
		}
		if last > st.Total {
			return
		}
		if n := length(st.Ranges) + length(holes(st.Ranges, st.Total)); n != st.Total {
			t.Fatalf("%d of %d bytes", n, st.Total)
		}
	})
}

func FuzzLabels(f *testing.F) {
	f.Add([]byte(`{"version":1,"updated":"2026-01-02T03:04:05Z","labels":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLabels(b); err == nil && l.Version != version {
			t.Fatal(l)
		}
	})
}

// FuzzDigest: what split takes is safe as a path.
func FuzzDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Add("sha512:../" + strings.Repeat("a", 125))
	f.Fuzz(func(t *testing.T, s string) {
		algorithm, encoded, err := split(digest.Digest(s))
		if err != nil {
			return
		}
		if algorithm+":"+encoded != s || strings.ContainsAny(encoded, "/.\x00") || digest.Digest(s).Validate() != nil {
			t.Fatalf("took %q", s)
		}
	})
}

// FuzzRanges adds ranges and compares with a table of bytes.
func FuzzRanges(f *testing.F) {
	f.Add([]byte{1, 3, 5, 2, 3, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var have [300]bool
		var ranges []Range
		for ; len(b) > 1; b = b[2:] {
			start, end := int64(b[0]), int64(b[0])+int64(b[1]%40)+1
			ranges = with(ranges, Range{start, end})
			for i := start; i < end; i++ {
				have[i] = true
			}
		}
		var got [300]bool
		for i, r := range ranges {
			if r.Start >= r.End || i > 0 && r.Start <= ranges[i-1].End {
				t.Fatalf("not apart: %v", ranges)
			}
			for k := r.Start; k < r.End; k++ {
				got[k] = true
			}
		}
		if got != have {
			t.Fatalf("%v", ranges)
		}
		for _, h := range holes(ranges, 300) {
			for k := h.Start; k < h.End; k++ {
				if have[k] {
					t.Fatalf("hole %v in %v", h, ranges)
				}
			}
		}
	})
}
