package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// again calls make, and once more after removing what is in its place.
func (x *extractor) again(dir int, base string, make func() error) error {
	err := make()
	if err != unix.EEXIST {
		return err
	}
	if err := x.remove(dir, base); err != nil {
		return err
	}
	return make()
}

// regular makes a regular file with its contents.
func (x *extractor) regular(dir int, base string, h *tar.Header, a *attributes, r io.Reader) error {
	if h.Size > x.limits.FileBytes {
		return fault.New(fault.Invalid, "the file is larger than %d bytes", x.limits.FileBytes)
	}
	if x.bytes += h.Size; x.bytes > x.limits.Bytes {
		return fault.New(fault.Invalid, "the layer's files are larger than %d bytes", x.limits.Bytes)
	}
	fd := -1
	err := x.again(dir, base, func() (err error) {
		fd, err = unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, a.Mode&0o777)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the file: %w", err)
	}
	x.inodes++
	sparse := h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.size"] != "" ||
		h.PAXRecords["GNU.sparse.realsize"] != ""
	if !sparse && h.Size <= smallFile {
		return x.small.add(h.Name, fd, h.Size, a, r)
	}
	if sparse {
		err = copySparse(fd, r, x.buf)
	} else {
		err = copyTo(fd, r, x.buf)
	}
	if err == nil {
		err = x.setAll(fd, a, unix.S_IFREG)
	}
	if err == nil {
		err = x.addSize(fd)
	}
	if cerr := unix.Close(fd); err == nil && cerr != nil {
		err = fmt.Errorf("close: %w", cerr)
	}
	return err
}

// copyTo writes the contents of a file.
func copyTo(fd int, r io.Reader, buf []byte) error {
	for {
		n, err := fill(r, buf)
		if werr := writeAll(fd, buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return contentsError(err)
		}
	}
}

func contentsError(err error) error {
	if !errors.Is(err, errStopped) {
		err = asInvalid(err)
	}
	return fmt.Errorf("read its contents: %w", err)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// holeSize is the piece that copySparse leaves out when it is all zeros.
const holeSize = 4096

// copySparse is copyTo that leaves holes. Where the tar had them is not known any
// more: its reader fills them with zeros.
func copySparse(fd int, r io.Reader, buf []byte) error {
	at := int64(0)
	for {
		n, err := fill(r, buf)
		for b := buf[:n]; len(b) > 0; {
			run, zero := zeroRun(b)
			if !zero {
				if _, serr := unix.Seek(fd, at, io.SeekStart); serr != nil {
					return fmt.Errorf("seek: %w", serr)
				}
				if werr := writeAll(fd, b[:run]); werr != nil {
					return werr
				}
			}
			at += int64(run)
			b = b[run:]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return contentsError(err)
		}
	}
	if err := unix.Ftruncate(fd, at); err != nil {
		return fmt.Errorf("truncate: %w", err)
	}
	return nil
}

// zeroRun gives the length of the pieces at the start of b that are all zeros,
// or all not.
func zeroRun(b []byte) (n int, zero bool) {
	for n < len(b) {
		end := min(n+holeSize, len(b))
		z := allZero(b[n:end])
		if n > 0 && z != zero {
			break
		}
		n, zero = end, z
	}
	return n, zero
}

func allZero(b []byte) bool {
	var zeros [holeSize]byte
	return string(b) == string(zeros[:len(b)])
}
