package applet

import (
	"bufio"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// listing is ls: what to show of each file.
type listing struct {
	long, all, almost, self, deep, one, human, numeric, inode, byTime, bySize, reverse, marks bool
	out                                                                                       *bufio.Writer
	users, groups                                                                             map[uint32]string
}

// entry is one line of ls.
type entry struct {
	name string
	path string
	fi   fs.FileInfo
	st   *syscall.Stat_t
}

func ls(args []string) error {
	l := listing{out: bufio.NewWriter(os.Stdout), users: map[uint32]string{}, groups: map[uint32]string{}}
	f := newFlags("ls")
	for _, b := range []struct {
		letter string
		to     *bool
		help   string
	}{
		{"l", &l.long, "long"}, {"a", &l.all, "hidden ones too"}, {"A", &l.almost, "hidden ones but . and .."}, {"d", &l.self, "folders themselves"},
		{"R", &l.deep, "and all below"}, {"1", &l.one, "one a line"}, {"h", &l.human, "sizes with units"}, {"n", &l.numeric, "ids, not names"},
		{"i", &l.inode, "inode numbers"}, {"t", &l.byTime, "newest first"}, {"S", &l.bySize, "largest first"}, {"r", &l.reverse, "the other way round"}, {"F", &l.marks, "marks for kinds"},
	} {
		f.BoolVar(b.to, b.letter, false, b.help)
	}
	f.String("color", "", "is taken and never used")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	l.long = l.long || l.numeric
	if len(names) == 0 {
		names = []string{"."}
	}
	defer l.out.Flush()
	return l.list(names)
}

func (l *listing) list(names []string) error {
	var failed error
	var files, folders []entry
	for _, n := range names {
		e, err := look(n, n)
		if err == nil && !l.self && e.fi.Mode()&fs.ModeSymlink != 0 && !l.long {
			if to, errTo := os.Stat(n); errTo == nil {
				e.fi, e.st = to, to.Sys().(*syscall.Stat_t)
			}
		}
		switch {
		case err != nil:
			fmt.Fprintf(os.Stderr, "ls: cannot access '%s': %v\n", n, reason(err))
			failed = errQuiet
		case e.fi.IsDir() && !l.self:
			folders = append(folders, e)
		default:
			files = append(files, e)
		}
	}
	l.show(files, false)
	for i, e := range folders {
		if len(names) > 1 || l.deep {
			if i > 0 || len(files) > 0 {
				l.out.WriteByte('\n')
			}
			fmt.Fprintf(l.out, "%s:\n", e.path)
		}
		if err := l.folder(e.path); err != nil {
			failed = err
		}
	}
	return failed
}

func reason(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err
	}
	return err
}

func look(path, name string) (entry, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	return entry{name, path, fi, fi.Sys().(*syscall.Stat_t)}, nil
}

func (l *listing) folder(path string) error {
	found, err := os.ReadDir(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ls: cannot open directory '%s': %v\n", path, reason(err))
		return errQuiet
	}
	names := make([]string, 0, len(found)+2)
	if l.all {
		names = append(names, ".", "..")
	}
	for _, d := range found {
		if l.all || l.almost || d.Name()[0] != '.' {
			names = append(names, d.Name())
		}
	}
	var entries []entry
	for _, n := range names {
		if e, err := look(filepath.Join(path, n), n); err == nil {
			entries = append(entries, e)
		}
	}
	l.show(entries, true)
	if !l.deep {
		return nil
	}
	for _, e := range entries {
		if e.fi.IsDir() && e.name != "." && e.name != ".." {
			fmt.Fprintf(l.out, "\n%s:\n", e.path)
			if err := l.folder(e.path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listing) show(entries []entry, folder bool) {
	slices.SortFunc(entries, func(a, b entry) int {
		c := 0
		switch {
		case l.byTime:
			c = b.fi.ModTime().Compare(a.fi.ModTime())
		case l.bySize:
			c = cmp.Compare(b.fi.Size(), a.fi.Size())
		}
		c = cmp.Or(c, strings.Compare(a.name, b.name))
		if l.reverse {
			return -c
		}
		return c
	})
	if l.long {
		l.table(entries, folder)
		return
	}
	texts, width := make([]string, len(entries)), 1
	for i, e := range entries {
		texts[i] = l.label(e)
		width = max(width, len(texts[i])+2)
	}
	columns := 1
	if !l.one && term.IsTerminal(1) {
		if w, _, err := term.GetSize(1); err == nil {
			columns = max(1, w/width)
		}
	}
	rows := (len(texts) + columns - 1) / columns
	for r := range rows {
		for i := r; i < len(texts); i += rows {
			if i+rows < len(texts) {
				fmt.Fprintf(l.out, "%-*s", width, texts[i])
			} else {
				l.out.WriteString(texts[i])
			}
		}
		l.out.WriteByte('\n')
	}
}

func (l *listing) label(e entry) string {
	text := e.name
	if l.inode {
		text = strconv.FormatUint(e.st.Ino, 10) + " " + text
	}
	if l.marks {
		switch m := e.fi.Mode(); {
		case m.IsDir():
			text += "/"
		case m&fs.ModeSymlink != 0:
			text += "@"
		case m.IsRegular() && m&0o111 != 0:
			text += "*"
		}
	}
	return text
}

// table prints GNU's long form; columns are as wide as their widest word.
func (l *listing) table(entries []entry, folder bool) {
	var rows [][5]string
	var width [5]int
	blocks := int64(0)
	for _, e := range entries {
		size := strconv.FormatInt(e.st.Size, 10)
		switch {
		case e.fi.Mode()&fs.ModeDevice != 0:
			size = fmt.Sprintf("%d, %d", e.st.Rdev>>8&0xfff, e.st.Rdev&0xff)
		case l.human:
			size = strings.TrimSuffix(kib(e.st.Size, true), "B")
		}
		row := [5]string{letters(e.st.Mode), strconv.FormatUint(uint64(e.st.Nlink), 10), l.owner(l.users, "/etc/passwd", e.st.Uid), l.owner(l.groups, "/etc/group", e.st.Gid), size}
		for i, c := range row {
			width[i] = max(width[i], len(c))
		}
		rows = append(rows, row)
		blocks += e.st.Blocks
	}
	if folder {
		fmt.Fprintf(l.out, "total %s\n", kib(blocks*512, l.human))
	}
	for i, e := range entries {
		when := e.fi.ModTime()
		layout := "Jan _2 15:04"
		if age := time.Since(when); age > 182*24*time.Hour || age < -time.Hour {
			layout = "Jan _2  2006"
		}
		name := l.label(e)
		if e.fi.Mode()&fs.ModeSymlink != 0 {
			if to, err := os.Readlink(e.path); err == nil {
				name += " -> " + to
			}
		}
		r := rows[i]
		fmt.Fprintf(l.out, "%s %*s %-*s %-*s %*s %s %s\n", r[0], width[1], r[1], width[2], r[2], width[3], r[3], width[4], r[4], when.Format(layout), name)
	}
}

func (l *listing) owner(known map[uint32]string, file string, id uint32) string {
	if name, ok := known[id]; ok {
		return name
	}
	name := ""
	if !l.numeric {
		name = nameOf(file, int(id))
	}
	known[id] = cmp.Or(name, strconv.Itoa(int(id)))
	return known[id]
}

// letters are a mode as ls(1) writes it.
func letters(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	if kind, ok := map[uint32]byte{syscall.S_IFREG: '-', syscall.S_IFDIR: 'd', syscall.S_IFLNK: 'l', syscall.S_IFCHR: 'c', syscall.S_IFBLK: 'b', syscall.S_IFIFO: 'p', syscall.S_IFSOCK: 's'}[mode&syscall.S_IFMT]; ok {
		b[0] = kind
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	for _, s := range []struct {
		bit  uint32
		at   int
		with byte
	}{{syscall.S_ISUID, 3, 's'}, {syscall.S_ISGID, 6, 's'}, {syscall.S_ISVTX, 9, 't'}} {
		if mode&s.bit != 0 {
			if b[s.at] == '-' {
				s.with -= 'a' - 'A'
			}
			b[s.at] = s.with
		}
	}
	return string(b)
}
