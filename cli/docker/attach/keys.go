package attach

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// DefaultKeys detach where nothing else is said: ctrl-p, then ctrl-q.
var DefaultKeys = []byte{16, 17}

// ParseKeys reads a sequence like ctrl-p,ctrl-q or a,b. None is DefaultKeys.
func ParseKeys(s string) ([]byte, error) {
	if s == "" {
		return DefaultKeys, nil
	}
	var keys []byte
	for word := range strings.SplitSeq(s, ",") {
		b, ok := key(word)
		if !ok {
			return nil, fmt.Errorf("invalid detach keys (%s) provided", s)
		}
		keys = append(keys, b)
	}
	return keys, nil
}

// key is one character, or ctrl- with a letter or one of @[\]^_.
func key(word string) (byte, bool) {
	if len(word) == 1 {
		return word[0], true
	}
	rest, ok := strings.CutPrefix(strings.ToLower(word), "ctrl-")
	if !ok || len(rest) != 1 {
		return 0, false
	}
	switch c := rest[0]; {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 1, true
	case strings.IndexByte(`@[\]^_`, c) >= 0:
		return c - '@', true
	}
	return 0, false
}

// keyReader passes on what is typed and ends with ErrDetached at the keys. The
// beginning of what may become the keys is held back until it does not.
type keyReader struct {
	r    io.Reader
	keys []byte
	held []byte // a prefix of keys
	out  []byte // still to be read
	err  error
}

func (k *keyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(k.out) == 0 && k.err == nil {
		n, err := k.r.Read(p)
		k.take(p[:n])
		if k.err == nil && err != nil {
			k.out, k.held, k.err = append(k.out, k.held...), nil, err
		}
	}
	if len(k.out) > 0 {
		n := copy(p, k.out)
		k.out = k.out[n:]
		return n, nil
	}
	return 0, k.err
}

// take sorts typed bytes into those to pass on and those held back.
func (k *keyReader) take(typed []byte) {
	for _, b := range typed {
		k.held = append(k.held, b)
		for !bytes.HasPrefix(k.keys, k.held) {
			k.out = append(k.out, k.held[0])
			k.held = k.held[1:]
		}
		if len(k.held) == len(k.keys) {
			k.err = ErrDetached
			return
		}
	}
}
