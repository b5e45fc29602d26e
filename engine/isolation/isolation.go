// Package isolation says what of the isolation baseline (docs/threats.md) holds: of
// this machine, and of one container. It reads the kernel's own files where it can,
// so that it tells what is and not what was asked; it changes nothing, decides
// nothing, and knows no store: the verb hands in what it found. Part of the room
// engine, row 5.
package isolation

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
)

// State is whether one thing holds.
type State string

// The states. Partly: with what Why says; Unknown: the caller may not look, or the
// kernel does not show it.
const (
	Yes     State = "yes"
	No      State = "no"
	Partly  State = "partly"
	Unknown State = "unknown"
)

// Row is one thing.
type Row struct {
	Key   string // for programs: never changes its meaning
	What  string // for people
	State State
	Why   string // why it is so, or how to mend it
}

// when is the first state if a thing is so, else the second.
func when(so bool, is, not State) State {
	if so {
		return is
	}
	return not
}

// maxFile bounds what is read of one file of /proc and /sys.
const maxFile = 64 << 20

// text is a file's text without blanks around it; ok is false if it cannot be read.
func text(path string) (s string, ok bool) {
	b, err := atomicfile.ReadCapped(path, maxFile)
	return strings.TrimSpace(string(b)), err == nil
}

// number is a file that holds one number.
func number(path string) (n int64, ok bool) {
	s, ok := text(path)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// list writes at most six words of a list.
func list(words []string) string {
	const most = 6
	if len(words) > most {
		return strings.Join(words[:most], ", ") + " and " + strconv.Itoa(len(words)-most) + " more"
	}
	return strings.Join(words, ", ")
}
