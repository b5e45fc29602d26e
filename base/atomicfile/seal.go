package atomicfile

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"

	"berth/base/fault"
)

// A sealed file is one that nobody waits for on the disk, so that a power cut may
// tear it: it begins with its form and ends with a checksum.

// Seal appends the checksum to what begins with the form.
func Seal(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }

// Unseal gives what stands between form and checksum; ok is false if the bytes are
// torn or of another form.
func Unseal(form string, b []byte) (body []byte, ok bool) {
	end := len(b) - 4
	if end < len(form) || string(b[:len(form)]) != form || binary.LittleEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[:end]) {
		return nil, false
	}
	return b[len(form):end], true
}

// WriteHint is Write of what can be made again: no room for it, or no right to
// write there, is no error.
func WriteHint(path string, data []byte, perm fs.FileMode) error {
	err := Write(path, data, perm)
	if fault.Is(err, fault.NoSpace) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
