package library

import (
	"encoding/json"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"berth/sys/stamp"
)

// readers is how many goroutines read summaries for a list.
const readers = 4

// stamped is a summary and what its file looked like when it was read; the zero
// Stamp if that cannot tell.
type stamped struct {
	summary
	seen stamp.Stamp
}

// summaries reads those of targets that are there and fit a small buffer, but
// for the known ones: what a list costs is mostly system calls, three a file
// here, one if it is known. Those that are missing or strange are summaryOf's.
// news is how many known lacks.
func (l *Library) summaries(targets []digest.Digest, known map[digest.Digest]stamped) (got []stamped, news int) {
	got = make([]stamped, len(targets))
	dir, err := unix.Open(l.Path("images"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return got, 0
	}
	defer unix.Close(dir)
	workers := min(readers, len(targets)/64+1)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for i := w; i < len(targets); i += workers {
				got[i] = readSummary(dir, filepath.Base(l.SummaryPath(targets[i])), known[targets[i]], buf)
			}
		})
	}
	wg.Wait()
	for i, t := range targets {
		if seen := got[i].seen; seen != (stamp.Stamp{}) && known[t].seen != seen {
			news++
		}
	}
	return got, news
}

// readSummary is known, if that is still so, or reads the file; the zero value
// stands for any error.
func readSummary(dir int, name string, known stamped, buf []byte) (s stamped) {
	now := time.Now()
	seen, err := stamp.At(dir, name)
	if err != nil {
		return stamped{} // it was dropped: what it said may hold no more
	}
	if seen == known.seen {
		return known
	}
	n := readSmall(dir, name, buf)
	var ok bool
	if s.summary, ok = parseSummary(buf[:n]); !ok || n == len(buf) {
		return stamped{}
	}
	if seen.Settled(now) {
		s.seen = seen
	}
	return s
}

// parseSummary reads what is in a summary's file.
func parseSummary(b []byte) (s summary, ok bool) {
	if len(b) == 0 || json.Unmarshal(b, &s) != nil || s.Version != summaryVersion || !s.plausible() {
		return summary{}, false
	}
	return s, true
}

// plausible is digest.Digest.Validate without its regular expressions.
func (s *summary) plausible() bool {
	id := string(s.ID)
	if len(id) != len("sha256:")+64 || id[:7] != "sha256:" {
		return s.ID.Validate() == nil
	}
	for i := 7; i < len(id); i++ {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// readSmall reads the beginning of a file below dir; 0 stands for any error.
func readSmall(dir int, name string, buf []byte) int {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		return max(n, 0)
	}
}
