// Package codec writes values as compact bytes for another process of the same
// build, and reads them back, with one function for both ways: numbers as
// varints, strings and lists with their length before them. There is no
// reflection in it, which costs a short-lived program a tenth of its time.
// Row 0.
package codec

import (
	"errors"
	"maps"
	"slices"
	"time"
	"unsafe"
)

// ErrTruncated says that a value goes on after the end of the bytes.
var ErrTruncated = errors.New("it is truncated")

// Coder walks the fields of a value in either direction: it appends to Buf when
// encoding and consumes it when decoding. The first error sticks.
type Coder struct {
	// Buf is what was encoded, or what is left to decode.
	Buf      []byte
	text     string // all of what Buf was, for strings to be parts of
	decoding bool
	// Err is the first error.
	Err error
}

// Decode returns a coder that takes its values from b.
func Decode(b []byte) *Coder { return &Coder{Buf: b, decoding: true} }

// Whole has code take its values from b, and reports whether that was all there is.
// Strings are parts of b, which nobody may change from now on.
func Whole(b []byte, code func(*Coder)) bool {
	c := &Coder{Buf: b, text: unsafe.String(unsafe.SliceData(b), len(b)), decoding: true}
	code(c)
	return c.Err == nil && len(c.Buf) == 0
}

// Decoding tells the direction.
func (c *Coder) Decoding() bool { return c.decoding }

func (c *Coder) fail(err error) {
	if c.Err == nil {
		c.Err = err
	}
	c.Buf = nil
}

// U64 codes a number, as a varint.
func (c *Coder) U64(v *uint64) {
	if !c.decoding {
		x := *v
		for x >= 0x80 {
			c.Buf = append(c.Buf, byte(x)|0x80)
			x >>= 7
		}
		c.Buf = append(c.Buf, byte(x))
		return
	}
	var x uint64
	for shift := uint(0); ; shift += 7 {
		if len(c.Buf) == 0 || shift > 63 {
			c.fail(ErrTruncated)
			return
		}
		b := c.Buf[0]
		c.Buf = c.Buf[1:]
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	*v = x
}

// I64 codes a signed number in zigzag form, so that -1 stays one byte.
func (c *Coder) I64(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.U64(&u)
	if c.decoding {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

// Int codes a signed number as I64 does.
func (c *Coder) Int(v *int) {
	x := int64(*v)
	c.I64(&x)
	*v = int(x)
}

// U32 codes a number; what is read is cut to 32 bits.
func (c *Coder) U32(v *uint32) {
	x := uint64(*v)
	c.U64(&x)
	*v = uint32(x)
}

// U16 codes a number; what is read is cut to 16 bits.
func (c *Coder) U16(v *uint16) {
	x := uint64(*v)
	c.U64(&x)
	*v = uint16(x)
}

// Bool codes a truth value.
func (c *Coder) Bool(v *bool) {
	var x uint64
	if *v {
		x = 1
	}
	c.U64(&x)
	*v = x != 0
}

// Count codes a length and bounds it by the bytes that are left, each element
// taking at least one.
func (c *Coder) Count(n int) int {
	x := uint64(n)
	c.U64(&x)
	if c.decoding && x > uint64(len(c.Buf)) {
		c.fail(ErrTruncated)
		return 0
	}
	return int(x)
}

// Bytes codes bytes; what is read shares the memory of Buf.
func (c *Coder) Bytes(v *[]byte) {
	n := c.Count(len(*v))
	if !c.decoding {
		c.Buf = append(c.Buf, *v...)
		return
	}
	if *v = nil; c.Err == nil && n > 0 {
		*v = c.Buf[:n:n]
		c.Buf = c.Buf[n:]
	}
}

// Str codes a string.
func (c *Coder) Str(v *string) {
	n := c.Count(len(*v))
	if !c.decoding {
		c.Buf = append(c.Buf, *v...)
		return
	}
	if *v = ""; c.Err == nil && n > 0 {
		if at := len(c.text) - len(c.Buf); c.text != "" {
			*v = c.text[at : at+n]
		} else {
			*v = string(c.Buf[:n])
		}
		c.Buf = c.Buf[n:]
	}
}

// List codes a slice with the given coding of one element.
func List[T any](c *Coder, v *[]T, elem func(*Coder, *T)) {
	n := c.Count(len(*v))
	if c.decoding {
		if *v = nil; c.Err != nil || n == 0 {
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		elem(c, &(*v)[i])
	}
}

// Strs codes a list of strings.
func (c *Coder) Strs(v *[]string) { List(c, v, (*Coder).Str) }

// U32s codes a list of numbers.
func (c *Coder) U32s(v *[]uint32) { List(c, v, (*Coder).U32) }

// U64s codes a list of numbers.
func (c *Coder) U64s(v *[]uint64) { List(c, v, (*Coder).U64) }

// Optional codes a value that may be absent.
func Optional[T any](c *Coder, v **T, elem func(*Coder, *T)) {
	there := *v != nil
	c.Bool(&there)
	if c.decoding {
		if *v = nil; !there || c.Err != nil {
			return
		}
		*v = new(T)
	}
	if *v != nil {
		elem(c, *v)
	}
}

// Time codes a time of any year, to the nanosecond; what is read is in UTC.
func (c *Coder) Time(v *time.Time) {
	sec, nsec := v.Unix(), int64(v.Nanosecond())
	c.I64(&sec)
	c.I64(&nsec)
	if c.decoding {
		*v = time.Unix(sec, nsec).UTC()
	}
}

// Map codes a map of strings, in the order of its keys.
func (c *Coder) Map(v *map[string]string) {
	var keys []string
	if c.decoding {
		*v = nil
	} else {
		keys = slices.Sorted(maps.Keys(*v))
	}
	List(c, &keys, func(c *Coder, k *string) {
		text := (*v)[*k]
		c.Str(k)
		c.Str(&text)
		if c.decoding && c.Err == nil {
			if *v == nil {
				*v = map[string]string{}
			}
			(*v)[*k] = text
		}
	})
}
