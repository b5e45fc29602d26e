package clone

import (
	"reflect"
	"strings"
	"testing"
)

func TestWire(t *testing.T) {
	for name, a := range map[string]*Attr{
		"least": {Program: 3, Sock: 4, CgroupDir: -1, Argv: []string{"x"}},
		"full": {
			Program: 3, Sock: 4, CgroupDir: 5, Argv: []string{"x", "", "SOCK"}, SockArg: 2, Env: []string{"A=b", "C="},
			New: 0x7e020000, Join: []Join{{FD: 6, Flag: 0x10000000}, {FD: 7, Flag: 0x20000000}}, Keep: []int{8, 9},
			Undumpable: true, BecomeRoot: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, fds, err := a.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Unmarshal(b, fds)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Keep) == 0 {
				got.Keep = nil
			}
			if !reflect.DeepEqual(got, a) {
				t.Errorf("got %+v, want %+v", got, a)
			}
			for n := range b {
				if _, err := Unmarshal(b[:n], fds); err == nil {
					t.Errorf("%d bytes of %d are enough", n, len(b))
				}
			}
			if _, err := Unmarshal(append(b, 0), fds); err == nil {
				t.Error("a byte too many is taken")
			}
			if _, err := Unmarshal(b, fds[:1]); err == nil {
				t.Error("descriptors can be missing")
			}
		})
	}
	if _, _, err := (&Attr{Argv: []string{strings.Repeat("x", MaxWire)}}).Marshal(); err == nil {
		t.Error("there is no limit")
	}
}

// FuzzUnmarshal: no order from outside does more than fail.
func FuzzUnmarshal(f *testing.F) {
	b, _, err := (&Attr{Argv: []string{"x", "SOCK"}, SockArg: 1, Env: []string{"A=b"}, Join: []Join{{Flag: 1}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, 5)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		fds := make([]int, max(0, min(n, 100)))
		a, err := Unmarshal(b, fds)
		if err != nil {
			return
		}
		again, _, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Unmarshal(again, fds); err != nil || !reflect.DeepEqual(a, back) {
			t.Fatalf("%+v came back as %+v, %v", a, back, err)
		}
	})
}
