package image

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/base/fault"
)

func TestDiff(t *testing.T) {
	s := newStore(t)
	base, middle, top := layer(t, "etc/", "etc/a", "etc/b", "x"), layer(t, "etc/", "etc/.wh.a", "y"), layer(t, "etc/", "etc/a", ".wh.y")
	for name, layers := range map[string][][]byte{"one": {base}, "two": {base, middle}, "three": {base, middle, top}, "other": {top}} {
		data, _ := archiveOf(t, name+":latest", layers...)
		if _, err := s.Load(t.Context(), bytes.NewReader(data), "", LoadOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name, base string
		want       []string
	}{
		{"one", "", []string{"A /etc", "A /etc/a", "A /etc/b", "A /x"}},
		{"two", "", []string{"C /etc", "D /etc/a", "A /y"}},
		{"three", "", []string{"C /etc", "A /etc/a", "D /y"}},
		{"three", "two", []string{"C /etc", "A /etc/a", "D /y"}},
		{"three", "one", nil},
		{"one", "three", nil},
		{"two", "two", nil},
		{"other", "two", []string{"C /etc", "A /etc/a", "D /etc/b", "D /x", "D /y"}},
	}
	for _, c := range cases {
		list, err := s.Diff(t.Context(), c.name, c.base)
		if err != nil {
			t.Errorf("%s, %s: %v", c.name, c.base, err)
		}
		var got []string
		for _, l := range list {
			got = append(got, string(l.Kind)+" "+l.Path)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, %s:\n%s", c.name, c.base, diff)
		}
	}
	for _, names := range [][2]string{{"none", ""}, {"one", "none"}} {
		if _, err := s.Diff(t.Context(), names[0], names[1]); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", names, err)
		}
	}
}
