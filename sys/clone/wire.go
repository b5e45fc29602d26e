package clone

import (
	"errors"
	"unsafe"
)

// Limits of an Attr on its way to another process.
const (
	// MaxWire bounds what Unmarshal takes.
	MaxWire = 4096
	// MaxWireFDs is how many descriptors go along at most.
	MaxWireFDs = 64

	maxWords = 64
)

const (
	wireUndumpable = 1 << iota
	wireBecomeRoot
	wireCgroup
)

// Marshal turns a into bytes and descriptors, which stay the caller's, for
// Unmarshal of the same build in another process of the machine.
func (a *Attr) Marshal() (b []byte, fds []int, err error) {
	flags := uint32(0)
	for bit, on := range map[uint32]bool{wireUndumpable: a.Undumpable, wireBecomeRoot: a.BecomeRoot, wireCgroup: a.CgroupDir >= 0} {
		if on {
			flags |= bit
		}
	}
	fds = append(fds, a.Program, a.Sock)
	if a.CgroupDir >= 0 {
		fds = append(fds, a.CgroupDir)
	}
	b = putU32(nil, flags, uint32(a.New), uint32(a.SockArg), uint32(len(a.Join)), uint32(len(a.Argv)), uint32(len(a.Env)))
	for _, j := range a.Join {
		b, fds = putU32(b, uint32(j.Flag)), append(fds, j.FD)
	}
	fds = append(fds, a.Keep...)
	for _, list := range [][]string{a.Argv, a.Env} {
		for _, s := range list {
			b = append(putU32(b, uint32(len(s))), s...)
		}
	}
	if len(b) > MaxWire || len(fds) > MaxWireFDs || len(a.Argv) > maxWords || len(a.Env) > maxWords {
		return nil, nil, errors.New("clone: too much for another process")
	}
	return b, fds, nil
}

// Unmarshal is the inverse of Marshal: fds are the copies that came along, in
// the same order. They become a's and are the caller's to close.
func Unmarshal(b []byte, fds []int) (*Attr, error) {
	if len(b) > MaxWire || len(fds) > MaxWireFDs {
		return nil, errors.New("clone: an order that is too long")
	}
	r := &wireReader{b: b, fds: fds}
	flags := r.u32()
	a := &Attr{New: int(r.u32()), SockArg: int(r.u32()), CgroupDir: -1}
	joins, args, env := r.count(), r.count(), r.count()
	a.Program, a.Sock = r.fd(), r.fd()
	if flags&wireCgroup != 0 {
		a.CgroupDir = r.fd()
	}
	a.Undumpable, a.BecomeRoot = flags&wireUndumpable != 0, flags&wireBecomeRoot != 0
	for range joins {
		a.Join = append(a.Join, Join{Flag: int(r.u32()), FD: r.fd()})
	}
	a.Keep = r.fds
	a.Argv, a.Env = r.words(args), r.words(env)
	switch {
	case r.short || len(r.b) != 0:
		return nil, errors.New("clone: a damaged order")
	case len(a.Argv) == 0 || a.SockArg < 0 || a.SockArg >= len(a.Argv):
		return nil, errors.New("clone: an order without its arguments")
	}
	return a, nil
}

func putU32(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = append(b, (*[4]byte)(unsafe.Pointer(&v))[:]...)
	}
	return b
}

func getU32(b []byte) uint32 {
	var v uint32
	copy((*[4]byte)(unsafe.Pointer(&v))[:], b)
	return v
}

// wireReader consumes an order; short is set once it asked for more than there is.
type wireReader struct {
	b     []byte
	fds   []int
	short bool
}

func (r *wireReader) u32() uint32 {
	if len(r.b) < 4 {
		r.short, r.b = true, nil
		return 0
	}
	v := getU32(r.b)
	r.b = r.b[4:]
	return v
}

func (r *wireReader) count() int {
	n := r.u32()
	if n > maxWords {
		r.short = true
		return 0
	}
	return int(n)
}

func (r *wireReader) fd() int {
	if len(r.fds) == 0 {
		r.short = true
		return -1
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd
}

func (r *wireReader) words(n int) []string {
	var list []string
	for range n {
		size := int(r.u32())
		if size > len(r.b) {
			r.short = true
			return nil
		}
		list = append(list, string(r.b[:size]))
		r.b = r.b[size:]
	}
	return list
}
