package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// A ring carries a stream from one process to another through memory that both
// have mapped: a pipe would cost two more copies of every byte.
//
//	chunk 0 │ chunk 1 │ chunk 2 │ chunk 3      memfd, sealed: its size stays
//	writer ── 4 bytes: how long the next one is ──▶ reader
//	writer ◀── 1 byte: the oldest one is free again ── reader
//
// The end of the stream is the end of the socket; whether it was all is said
// elsewhere. A side that does not keep to
// this gets an error, or harms its own stream alone.
const (
	chunkSize  = 256 << 10
	chunkCount = 4
	ringSize   = chunkCount * chunkSize
)

// ringEnd is one side of a ring. It belongs to one goroutine but for sock's Close.
type ringEnd struct {
	mem  []byte
	sock *os.File
	next int // chunk
}

func (e *ringEnd) chunk() []byte { return e.mem[e.next*chunkSize:][:chunkSize:chunkSize] }

func (e *ringEnd) step() { e.next = (e.next + 1) % chunkCount }

// unmap is for the end of the goroutine: who looks at mem later is lost.
func (e *ringEnd) unmap() { _ = unix.Munmap(e.mem) }

// farRing is what the other process gets: the memory and its socket.
type farRing struct{ mem, sock *os.File }

func (f farRing) close() {
	f.mem.Close()
	f.sock.Close()
}

// newRing makes a ring. If this side writes, the other one can only read: what
// was hashed here stays as it is.
func newRing(writes bool) (near ringEnd, far farRing, err error) {
	fd, err := unix.MemfdCreate("layer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return near, far, fmt.Errorf("make a memory file: %w", err)
	}
	far.mem = os.NewFile(uintptr(fd), "ring")
	defer func() {
		if err != nil {
			far.mem.Close()
			err = fmt.Errorf("make a ring of memory: %w", err)
		}
	}()
	prot, seals := unix.PROT_READ, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL
	if writes {
		prot |= unix.PROT_WRITE
		seals |= unix.F_SEAL_FUTURE_WRITE
	}
	if err = unix.Ftruncate(fd, ringSize); err != nil {
		return near, far, err
	}
	if near.mem, err = unix.Mmap(fd, 0, ringSize, prot, unix.MAP_SHARED); err != nil {
		return near, far, err
	}
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err == nil {
		near.sock, far.sock, err = streamPair()
	}
	if err != nil {
		near.unmap()
	}
	return near, far, err
}

// openRing is the other side's.
func openRing(mem, sock int, writes bool) (ringEnd, error) {
	defer unix.Close(mem)
	e := ringEnd{sock: waitable(sock, "ring")}
	prot := unix.PROT_READ
	if writes {
		prot |= unix.PROT_WRITE
	}
	var err error
	if e.mem, err = unix.Mmap(mem, 0, ringSize, prot, unix.MAP_SHARED); err != nil {
		e.sock.Close()
		return e, fmt.Errorf("map the ring: %w", err)
	}
	return e, nil
}

func streamPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "ring"), os.NewFile(uintptr(fds[1]), "ring"), nil
}

// ringWriter fills chunks.
type ringWriter struct {
	ringEnd
	full int // chunks that the other side has
}

// empty waits for a chunk to fill. EPIPE says that nobody reads any more.
func (w *ringWriter) empty() ([]byte, error) {
	if w.full == chunkCount {
		var free [chunkCount]byte
		n, err := w.sock.Read(free[:])
		if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
			err = unix.EPIPE
		}
		if err != nil {
			return nil, err
		}
		if n > w.full {
			return nil, malformedRing
		}
		w.full -= n
	}
	return w.chunk(), nil
}

// send gives the chunk to the other side.
func (w *ringWriter) send(n int) error {
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(n))
	if _, err := w.sock.Write(size[:]); err != nil {
		if errors.Is(err, unix.ECONNRESET) {
			err = unix.EPIPE
		}
		return err
	}
	w.full++
	w.step()
	return nil
}

var malformedRing = fault.New(fault.Invalid, "the unpack worker does not keep to the ring")

// ringReader takes chunks; it is an io.Reader, too.
type ringReader struct {
	ringEnd
	rest []byte // of the chunk that is being read
	held bool
}

// take waits for the next chunk; free gives it back. io.EOF is the end.
func (r *ringReader) take() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r.sock, size[:]); err != nil {
		if errors.Is(err, unix.ECONNRESET) { // it closed before it was told of the last free chunks
			err = io.EOF
		}
		return nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n == 0 || n > chunkSize {
		return nil, malformedRing
	}
	return r.chunk()[:n], nil
}

func (r *ringReader) free() {
	_, _ = r.sock.Write([]byte{0}) // who has sent all may be gone
	r.step()
}

func (r *ringReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.held {
			r.free()
			r.held = false
		}
		var err error
		if r.rest, err = r.take(); err != nil {
			return 0, err
		}
		r.held = true
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
