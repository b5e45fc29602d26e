package wire

import "errors"

// coder walks the fields of a message in either direction: it appends to buf
// when encoding and consumes buf when decoding. The first error sticks.
type coder struct {
	buf      []byte
	decoding bool
	err      error
}

var (
	errTruncated = errors.New("the message is truncated")
	errTrailing  = errors.New("the message goes on after its end")
)

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.buf = nil
}

func (c *coder) u64(v *uint64) {
	if !c.decoding {
		x := *v
		for x >= 0x80 {
			c.buf = append(c.buf, byte(x)|0x80)
			x >>= 7
		}
		c.buf = append(c.buf, byte(x))
		return
	}
	var x uint64
	for shift := uint(0); ; shift += 7 {
		if len(c.buf) == 0 || shift > 63 {
			c.fail(errTruncated)
			return
		}
		b := c.buf[0]
		c.buf = c.buf[1:]
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	*v = x
}

// i64 stores a signed number in zigzag form, so that -1 stays one byte.
func (c *coder) i64(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.u64(&u)
	if c.decoding {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

func (c *coder) int(v *int) {
	x := int64(*v)
	c.i64(&x)
	*v = int(x)
}

func (c *coder) u16(v *uint16) {
	x := uint64(*v)
	c.u64(&x)
	*v = uint16(x)
}

func (c *coder) bool(v *bool) {
	var x uint64
	if *v {
		x = 1
	}
	c.u64(&x)
	*v = x != 0
}

// count codes a length and bounds it by the bytes that are left, each element
// taking at least one.
func (c *coder) count(n int) int {
	x := uint64(n)
	c.u64(&x)
	if c.decoding && x > uint64(len(c.buf)) {
		c.fail(errTruncated)
		return 0
	}
	return int(x)
}

func (c *coder) str(v *string) {
	n := c.count(len(*v))
	if !c.decoding {
		c.buf = append(c.buf, *v...)
		return
	}
	if c.err != nil {
		return
	}
	*v = string(c.buf[:n])
	c.buf = c.buf[n:]
}

// list codes the elements of a slice, each by its own function.
func list[T any](c *coder, v *[]T, each func(*T)) {
	n := c.count(len(*v))
	if c.decoding {
		*v = nil
		if n > 0 && c.err == nil {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		each(&(*v)[i])
	}
}
