// Package journal is an append-only file of events that many processes write and
// read at once: one line of JSON an event, one write(2) with O_APPEND a line. It
// does not know what the events mean, and it is not durable: it lives in the run
// folder. Row 0 (base): standard library only.
//
//	DIR/0000000007    the generation before
//	DIR/0000000008    the one that is written to; at 16 MiB, 9 begins and 7 goes
//
// A writer holds the newest file's lock, shared, while it writes; who begins a
// generation holds it alone. So nothing is added to a file once there is a newer
// one, and a reader that finds the end of it may go on there.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// MaxFile is the size in bytes at which a new generation begins; two are kept.
const MaxFile = 16 << 20

// MaxLine bounds an event's line in bytes.
const MaxLine = 1 << 20

// Event is one thing that happened, in the shape of Docker's events.
type Event struct {
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"`   // container, image, volume, network
	Action     string            `json:"action"` // create, start, die, …
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Journal is one folder of events. It holds nothing open and may be used by
// several goroutines.
type Journal struct {
	dir  string
	size int64 // at which a generation ends
}

// Open gives the journal in a folder, which the first event makes.
func Open(dir string) *Journal { return &Journal{dir: dir, size: MaxFile} }

const digits = 10

func (j *Journal) path(generation uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%0*d", digits, generation))
}

// generations lists what is there, in order.
func (j *Journal) generations() ([]uint64, error) {
	names, err := atomicfile.Names(j.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 64); err == nil && len(name) == digits {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Append writes one event; a zero Time is now. Error: Invalid for one that is
// too long.
func (j *Journal) Append(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	// The line break in front closes a line that a full disk tore.
	line := append(append([]byte{'\n'}, b...), '\n')
	if len(line) > MaxLine {
		return fault.New(fault.Invalid, "write event: %d bytes, more than %d", len(line), MaxLine)
	}
	if err := j.append(line); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}

func (j *Journal) append(line []byte) error {
	for {
		all, err := j.generations()
		if err != nil {
			return err
		}
		if len(all) == 0 {
			if err := j.begin(1); err != nil {
				return err
			}
			continue
		}
		newest := all[len(all)-1]
		size, done, err := j.write(newest, line)
		if err != nil || done && size < j.size {
			return err
		}
		if done {
			return j.rotate(newest, all)
		}
	}
}

// begin makes the first generation.
func (j *Journal) begin(generation uint64) error {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path(generation), os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// write adds a line to a generation. done is false if it is not the newest any
// more. size is the file's afterwards.
func (j *Journal) write(generation uint64, line []byte) (size int64, done bool, err error) {
	f, err := j.lock(generation, syscall.LOCK_SH)
	if err != nil || f == nil {
		return 0, false, err
	}
	defer f.Close()
	if _, err := f.Write(line); err != nil {
		return 0, false, err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, true, nil // it is written
	}
	return st.Size(), true, nil
}

// lock opens a generation and locks it until the file is closed; nil if there
// is a newer one, or it is gone.
func (j *Journal) lock(generation uint64, how int) (*os.File, error) {
	f, err := os.OpenFile(j.path(generation), os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		_, gone := os.Lstat(j.path(generation + 1))
		if errors.Is(gone, os.ErrNotExist) {
			return f, nil
		}
	}
	f.Close()
	return nil, err
}

// rotate begins the generation after the newest and removes all but two.
func (j *Journal) rotate(newest uint64, all []uint64) error {
	f, err := j.lock(newest, syscall.LOCK_EX)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	if err := j.begin(newest + 1); err != nil {
		return err
	}
	for _, old := range all[:len(all)-1] {
		if err := os.Remove(j.path(old)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
