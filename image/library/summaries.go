package library

import (
	"encoding/json"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// readers is how many goroutines read summaries for a list.
const readers = 4

// summaries reads those of a list's targets that are there and fit a small
// buffer: what a list costs is mostly system calls, three a file here. Those
// that are missing or strange are summaryOf's.
func (l *Library) summaries(all []images.Image) map[digest.Digest]summary {
	out := make(map[digest.Digest]summary, len(all))
	dir, err := unix.Open(l.Path("images"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return out
	}
	defer unix.Close(dir)
	var targets []digest.Digest
	for _, n := range all {
		if _, twice := out[n.Target.Digest]; !twice {
			out[n.Target.Digest] = summary{}
			targets = append(targets, n.Target.Digest)
		}
	}
	got := make([]summary, len(targets))
	workers := min(readers, len(targets)/64+1)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for i := w; i < len(targets); i += workers {
				n := readSmall(dir, filepath.Base(l.SummaryPath(targets[i])), buf)
				if s, ok := parseSummary(buf[:n]); n < len(buf) && ok {
					got[i] = s
				}
			}
		})
	}
	wg.Wait()
	for i, t := range targets {
		if out[t] = got[i]; got[i].Version == 0 {
			delete(out, t)
		}
	}
	return out
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
