package stamp

import (
	"berth/base/atomicfile"
	"berth/base/codec"
)

// Cache is one file of what was read of many, with their stamps, so that a list
// reads it in their place. It decides nothing: what is not in it, or has another
// stamp, is read from its own file.
type Cache struct {
	Path string
	Form string // of another form it is as if it were not there
	Max  int64  // bytes
}

// Few is how many files a list may have to read itself, besides a part of all,
// before the cache is written again.
const (
	Few  = 32
	part = 32
)

// Read reports whether there is one; code has what it holds only then.
func (c *Cache) Read(code func(*codec.Coder)) bool {
	data, err := atomicfile.ReadCapped(c.Path, c.Max)
	if err != nil {
		return false
	}
	body, ok := atomicfile.Unseal(c.Form, data)
	return ok && codec.Whole(body, code)
}

// Write replaces it; a full disk is no error.
func (c *Cache) Write(code func(*codec.Coder)) error {
	to := codec.Coder{Buf: []byte(c.Form)}
	code(&to)
	return atomicfile.WriteHint(c.Path, atomicfile.Seal(to.Buf), 0o600)
}

// Outdated tells of a cache of that many known files whether it is to be written
// again by a list of all, which has read news of them itself.
func Outdated(known, all, news int) bool {
	return news > Few+all/part || known > Few+2*all
}

// Code codes a stamp.
func (s *Stamp) Code(c *codec.Coder) {
	c.U64(&s.Inode)
	c.I64(&s.Ctime)
	c.I64(&s.Size)
}
