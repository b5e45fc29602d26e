package command

import (
	"slices"
	"strings"
)

// Table is the rows of all verbs of the program.
type Table struct {
	Rows []*Entry
	// About is the line that tells what the program is.
	About string
}

// last is the last word of a path.
func (e *Entry) last() string { return e.Path[strings.LastIndexByte(e.Path, ' ')+1:] }

// parent is all but the last word of a path.
func (e *Entry) parent() string {
	if i := strings.LastIndexByte(e.Path, ' '); i >= 0 {
		return e.Path[:i]
	}
	return ""
}

func (e *Entry) is(word string) bool { return e.last() == word || slices.Contains(e.Aliases, word) }

// Below lists the rows one level below a path, as they stand.
func (t *Table) Below(path string) []*Entry {
	var out []*Entry
	for _, e := range t.Rows {
		if e.parent() == path {
			out = append(out, e)
		}
	}
	return out
}

// Find follows the words as far as they name rows. The entry is nil if the
// first word names none; a group is returned if its second word names nothing.
func (t *Table) Find(words []string) (e *Entry, rest []string) {
	path := ""
	for rest = words; len(rest) > 0; rest = rest[1:] {
		var next *Entry
		for _, row := range t.Below(path) {
			if row.is(rest[0]) {
				next = row
				break
			}
		}
		if next == nil {
			return e, rest
		}
		e, path = next, next.Path
		if e.New != nil {
			return e, rest[1:]
		}
	}
	return e, rest
}

// listed reports whether help shows the row in a dialect.
func (e *Entry) listed(d Dialect) bool { return !e.Hidden && (d != Docker || !e.Extra) }
