package lease

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// A lease that need not outlive a power cut grows by lines, so that a verb that
// makes thousands of things pays for each of them once: an array of resources a
// line, by the process that made the lease. Its file ends with a newline; one
// that does not is a lease for ever or a line that was cut off, and the next
// change writes the file anew, as changes by other processes do.

var newline = []byte("\n")

// added reads the lines behind the record. One that was cut off, or came to
// nothing in a power cut, ends them: what it kept was never promised.
func added(b []byte) (out []Resource) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, newline)
		var rs []Resource
		if !whole || json.Unmarshal(line, &rs) != nil {
			break
		}
		out = append(out, rs...)
		b = rest
	}
	return out
}

// distinct drops all but the first of equal resources.
func distinct(rs []Resource) []Resource {
	seen := make(map[Resource]bool, len(rs))
	out := rs[:0]
	for _, r := range rs {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return out
}

// appendTo adds a line to a lease's file under its lock; done is false if the
// file has to be written anew. Errors leave the file as it was.
func (s *Store) appendTo(id string, rs []Resource) (done bool, err error) {
	if _, ok := s.made.Load(id); !ok {
		return false, nil
	}
	line, err := json.Marshal(rs)
	if err != nil {
		return false, err
	}
	line = append(line, newline...)
	path := s.path(id)
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT {
		return false, notFound(id)
	}
	if err != nil {
		return false, nil // whoever reads it knows better what it is
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("change lease %.200q: %w", id, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size == 0 || st.Size+int64(len(line)) > maxFile {
		return false, nil
	}
	var last [1]byte
	if n, err := syscall.Pread(fd, last[:], st.Size-1); n != 1 || err != nil || last[0] != newline[0] {
		return false, nil
	}
	n, err := syscall.Write(fd, line)
	if n == len(line) {
		return true, nil
	}
	if err == nil {
		err = syscall.ENOSPC // a short write of a file
	}
	_ = syscall.Ftruncate(fd, st.Size)
	return false, fmt.Errorf("change lease %.200q: %w", id, &os.PathError{Op: "append to", Path: path, Err: err})
}
