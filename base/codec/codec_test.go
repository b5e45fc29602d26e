package codec

import (
	"reflect"
	"testing"
	"time"
)

type all struct {
	U64  uint64
	I64  int64
	Int  int
	U32  uint32
	U16  uint16
	Bool bool
	B    []byte
	S    string
	List []string
	Nums []uint32
	Big  []uint64
	Some *string
	None *string
	Map  map[string]string
	At   time.Time
	Zero time.Time
}

func (a *all) wire(c *Coder) {
	c.U64(&a.U64)
	c.I64(&a.I64)
	c.Int(&a.Int)
	c.U32(&a.U32)
	c.U16(&a.U16)
	c.Bool(&a.Bool)
	c.Bytes(&a.B)
	c.Str(&a.S)
	c.Strs(&a.List)
	c.U32s(&a.Nums)
	c.U64s(&a.Big)
	Optional(c, &a.Some, (*Coder).Str)
	Optional(c, &a.None, (*Coder).Str)
	c.Map(&a.Map)
	c.Time(&a.At)
	c.Time(&a.Zero)
}

// What was written is read again, over whatever was there.
func TestRoundTrip(t *testing.T) {
	some := "there"
	want := all{1<<64 - 1, -1 << 63, -1, 1<<32 - 1, 1<<16 - 1, true, []byte{0, 255}, "s\x00", []string{"", "b"}, []uint32{0, 7}, []uint64{1 << 63},
		&some, nil, map[string]string{"a": "", "b": "c"}, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Time{}}
	to := new(Coder)
	want.wire(to)
	got := all{S: "old", None: &some, Map: map[string]string{"old": ""}, List: []string{"old"}}
	from := Decode(to.Buf)
	if got.wire(from); from.Err != nil || len(from.Buf) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %d left: %+v, want %+v", from.Err, len(from.Buf), got, want)
	}
	for n := range to.Buf {
		from := Decode(to.Buf[:n])
		if new(all).wire(from); from.Err == nil {
			t.Errorf("%d of %d bytes are taken for all", n, len(to.Buf))
		}
	}
}

// No bytes make it read past their end, or make more of them than they can hold.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a all
		a.wire(Decode(b))
		if n := len(a.List) + len(a.Nums) + len(a.Big) + len(a.Map); n > len(b) {
			t.Errorf("%d elements of %d bytes", n, len(b))
		}
	})
}
