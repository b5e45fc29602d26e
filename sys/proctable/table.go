// Package proctable prints processes in the way of ps(1), from /proc alone: for
// `ps` and `top` of containers, which must not need the host's ps. It knows the common forms
// (-ef, aux, -o LIST) and refuses the others. It does not choose processes:
// the caller names their ids. Row 1.
package proctable

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/base/fault"
)

// column is one column of a table.
type column struct {
	name  string // as in -o
	title string
	right bool
	width int // at least
	text  func(*process, *host) string
}

// Format is a list of columns.
type Format struct{ columns []column }

var (
	fullNames = []string{"user", "pid", "ppid", "c", "stime", "tty", "time", "args"}
	userNames = []string{"user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args"}
	bareNames = []string{"pid", "tty", "time", "comm"}
)

// Parse reads options of ps. None at all mean -ef. Options that choose
// processes (e, a, A, d, x) say nothing here, where they are chosen already.
func Parse(args []string) (*Format, error) {
	if len(args) == 0 {
		return full(), nil
	}
	f := &Format{}
	names := bareNames
	for i := 0; i < len(args); i++ {
		word := strings.TrimPrefix(args[i], "-")
		for at, letter := range word {
			switch letter {
			case 'e', 'a', 'A', 'd', 'x', 'w':
			case 'f':
				names = fullNames
			case 'u':
				names = userNames
			case 'o':
				list := strings.TrimPrefix(word[at+1:], "=")
				if list == "" && i+1 < len(args) {
					i++
					list = args[i]
				}
				if err := f.add(list); err != nil {
					return nil, err
				}
			default:
				return nil, fault.New(fault.Unsupported, "ps option %q: only -e, -f, a, u, x, w and -o LIST are known here", args[i])
			}
			if letter == 'o' {
				break
			}
		}
	}
	if len(f.columns) > 0 {
		return f, nil
	}
	f = of(names)
	switch {
	case &names[0] == &fullNames[0]:
		return full(), nil
	case &names[0] == &userNames[0]:
		f.rename("args", "COMMAND")
		f.rename("bsdtime", "TIME")
	}
	return f, nil
}

// full is ps -ef: user names stand under UID.
func full() *Format {
	f := of(fullNames)
	f.rename("user", "UID")
	f.rename("args", "CMD")
	return f
}

func of(names []string) *Format {
	f := &Format{}
	for _, n := range names {
		c, _ := find(n)
		f.columns = append(f.columns, c)
	}
	return f
}

func (f *Format) rename(name, title string) {
	for i := range f.columns {
		if f.columns[i].name == name {
			f.columns[i].title = title
		}
	}
}

// add reads the LIST of -o: names, or name=title for the last one.
func (f *Format) add(list string) error {
	title, titled := "", false
	list, title, titled = strings.Cut(list, "=")
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		c, ok := find(name)
		if !ok {
			return fault.New(fault.Unsupported, "ps -o %q: this column is not known here", name)
		}
		f.columns = append(f.columns, c)
	}
	if len(f.columns) == 0 {
		return fault.New(fault.Invalid, "ps -o: no column is named")
	}
	if titled {
		f.columns[len(f.columns)-1].title = title
	}
	return nil
}

// Write prints the title line and a line for each of pids that still exists,
// in the order of their numbers.
func (f *Format) Write(w io.Writer, pids []int) error { return f.layOut(w, f.rows(pids)) }

func (f *Format) rows(pids []int) [][]string {
	h := readHost()
	pids = slices.Clone(pids)
	slices.Sort(pids)
	rows := [][]string{make([]string, len(f.columns))}
	for i, c := range f.columns {
		rows[0][i] = c.title
	}
	for _, pid := range pids {
		p, err := readProcess(pid)
		if err != nil {
			continue // it ended meanwhile
		}
		row := make([]string, len(f.columns))
		for i, c := range f.columns {
			row[i] = c.text(p, h)
		}
		rows = append(rows, row)
	}
	return rows
}

func (f *Format) layOut(w io.Writer, rows [][]string) error {
	width := make([]int, len(f.columns))
	for i, c := range f.columns {
		width[i] = c.width
		for _, row := range rows {
			width[i] = max(width[i], len(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range f.columns {
			if i > 0 {
				b.WriteByte(' ')
			}
			switch {
			case c.right:
				fmt.Fprintf(&b, "%*s", width[i], row[i])
			case i == len(row)-1:
				b.WriteString(row[i])
			default:
				fmt.Fprintf(&b, "%-*s", width[i], row[i])
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Rows gives the titles, and a row for each of pids that still exists, in the
// order of their numbers.
func (f *Format) Rows(pids []int) (titles []string, rows [][]string) {
	all := f.rows(pids)
	return all[0], all[1:]
}
