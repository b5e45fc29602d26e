package applet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func chmod(args []string) error {
	deep := false
	for len(args) > 0 && (args[0] == "-R" || args[0] == "--") {
		deep = deep || args[0] == "-R"
		args = args[1:]
	}
	if len(args) < 2 {
		return errors.New("takes [-R] MODE FILE…")
	}
	change, err := parseMode(args[0])
	if err != nil {
		return err
	}
	one := func(path string) error {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
		if err := syscall.Chmod(path, change(st.Mode)); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
		return nil
	}
	for _, n := range args[1:] {
		if !deep {
			if err := one(n); err != nil {
				return err
			}
			continue
		}
		err := filepath.WalkDir(n, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&fs.ModeSymlink != 0 {
				return err
			}
			return one(p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parseMode reads 4755 or u+rwX,go-w (chmod(1p)) into a change of a mode.
func parseMode(s string) (func(uint32) uint32, error) {
	if n, err := strconv.ParseUint(s, 8, 12); err == nil {
		return func(uint32) uint32 { return uint32(n) }, nil
	}
	var steps []func(uint32) uint32
	for clause := range strings.SplitSeq(s, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return nil, fmt.Errorf("invalid mode: %q", s)
		}
		who, op, rights := clause[:at], clause[at], clause[at+1:]
		if strings.Trim(who, "ugoa") != "" || strings.Trim(rights, "rwxXst") != "" {
			return nil, fmt.Errorf("invalid mode: %q", s)
		}
		steps = append(steps, func(mode uint32) uint32 { return applyMode(mode, who, op, rights) })
	}
	return func(mode uint32) uint32 {
		for _, step := range steps {
			mode = step(mode)
		}
		return mode & 0o7777
	}, nil
}

func applyMode(mode uint32, who string, op byte, rights string) uint32 {
	mask := uint32(0)
	if who == "" || strings.Contains(who, "a") {
		who = "ugo"
	}
	for _, w := range who {
		mask |= map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o1007}[w]
	}
	bits := uint32(0)
	for _, r := range rights {
		switch r {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if mode&syscall.S_IFMT == syscall.S_IFDIR || mode&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
			mask |= 0o1000
		}
	}
	switch op {
	case '+':
		return mode | bits&mask
	case '-':
		return mode &^ (bits & mask)
	}
	return mode&^(mask&0o777|bits&mask) | bits&mask
}

func touch(args []string) error {
	f := newFlags("touch")
	noCreate, access, modified := f.Bool("c", false, "make no file"), f.Bool("a", false, "access time"), f.Bool("m", false, "modification time")
	text, like := f.String("d", "", "time"), f.String("r", "", "as this file")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	stamp := unix.Timespec{Nsec: unix.UTIME_NOW}
	switch {
	case *like != "":
		fi, err := os.Stat(*like)
		if err != nil {
			return err
		}
		stamp = unix.NsecToTimespec(fi.ModTime().UnixNano())
	case *text != "":
		t, err := parseTime(*text)
		if err != nil {
			return err
		}
		stamp = unix.NsecToTimespec(t.UnixNano())
	}
	times := []unix.Timespec{stamp, stamp}
	if *access && !*modified {
		times[1].Nsec = unix.UTIME_OMIT
	}
	if *modified && !*access {
		times[0].Nsec = unix.UTIME_OMIT
	}
	for _, n := range names {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, n, times, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if *noCreate {
				continue
			}
			var file *os.File
			if file, err = os.OpenFile(n, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
				return err
			}
			file.Close()
			err = unix.UtimesNanoAt(unix.AT_FDCWD, n, times, 0)
		}
		if err != nil {
			return &fs.PathError{Op: "touch", Path: n, Err: err}
		}
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	if n, ok := strings.CutPrefix(s, "@"); ok {
		sec, err := strconv.ParseInt(n, 10, 64)
		return time.Unix(sec, 0), err
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC1123Z} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: as 2006-01-02 15:04:05 or @SECONDS", s)
}
