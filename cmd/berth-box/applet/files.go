package applet

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func basename(args []string) error {
	if len(args) == 0 {
		return errors.New("of which path?")
	}
	b := filepath.Base(args[0])
	if len(args) > 1 && b != args[1] {
		b = strings.TrimSuffix(b, args[1])
	}
	fmt.Println(b)
	return nil
}

func dirname(args []string) error {
	if len(args) == 0 {
		return errors.New("of which path?")
	}
	for _, a := range args {
		fmt.Println(filepath.Dir(a))
	}
	return nil
}

func pwd([]string) error {
	d, err := os.Getwd()
	if err == nil {
		fmt.Println(d)
	}
	return err
}

func readlink(args []string) error {
	f := newFlags("readlink")
	follow := f.Bool("f", false, "follow all links")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	for _, n := range names {
		if *follow {
			if err := realpath([]string{n}); err != nil {
				return err
			}
			continue
		}
		to, err := os.Readlink(n)
		if err != nil {
			return errQuiet
		}
		fmt.Println(to)
	}
	return nil
}

func realpath(args []string) error {
	for _, a := range args {
		p, err := filepath.EvalSymlinks(a)
		if err == nil {
			p, err = filepath.Abs(p)
		}
		if err != nil {
			return err
		}
		fmt.Println(p)
	}
	return nil
}

func rmdir(args []string) error {
	for _, a := range args {
		if err := syscall.Rmdir(a); err != nil {
			return &fs.PathError{Op: "remove", Path: a, Err: err}
		}
	}
	return nil
}

func ln(args []string) error {
	f := newFlags("ln")
	s, force, n := f.Bool("s", false, "symbolic"), f.Bool("f", false, "replace"), f.Bool("n", false, "a link to a folder is a file")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	switch len(names) {
	case 0:
		return errors.New("to what?")
	case 1:
		names = append(names, ".")
	}
	targets, dest := names[:len(names)-1], names[len(names)-1]
	for _, t := range targets {
		at := dest
		if st, err := os.Stat(dest); err == nil && st.IsDir() {
			if l, err := os.Lstat(dest); err != nil || !*n || l.Mode()&fs.ModeSymlink == 0 {
				at = filepath.Join(dest, filepath.Base(t))
			}
		}
		if *force {
			_ = os.Remove(at)
		}
		link := os.Link
		if *s {
			link = os.Symlink
		}
		if err := link(t, at); err != nil {
			return err
		}
	}
	return nil
}

func mkfifo(args []string) error {
	for _, a := range args {
		if err := syscall.Mkfifo(a, 0o666); err != nil {
			return &fs.PathError{Op: "mkfifo", Path: a, Err: err}
		}
	}
	return nil
}

func chown(args []string) error {
	f := newFlags("chown")
	deep, self := f.Bool("R", false, "and all below"), f.Bool("h", false, "links themselves")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(names) < 2 {
		return errors.New("takes OWNER[:GROUP] FILE…")
	}
	owner, group, _ := strings.Cut(names[0], ":")
	uid, err := lookup("/etc/passwd", owner)
	if err != nil {
		return err
	}
	gid, err := lookup("/etc/group", group)
	if err != nil {
		return err
	}
	change := os.Chown
	if *self || *deep {
		change = os.Lchown
	}
	for _, n := range names[1:] {
		if !*deep {
			if err := change(n, uid, gid); err != nil {
				return err
			}
			continue
		}
		if err := filepath.WalkDir(n, func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return change(p, uid, gid)
		}); err != nil {
			return err
		}
	}
	return nil
}

// lookup finds the id of a name in a file such as /etc/passwd; "" is -1.
func lookup(file, name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	entries, err := colonFile(file)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if len(e) > 2 && e[0] == name {
			return strconv.Atoi(e[2])
		}
	}
	return 0, fmt.Errorf("%s is not in %s", name, file)
}

// colonFile reads at most 1 MiB of a file of colons.
func colonFile(file string) ([][]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	var out [][]string
	for line := range strings.Lines(string(b)) {
		out = append(out, strings.Split(strings.TrimSpace(line), ":"))
	}
	return out, err
}

func stat(args []string) error {
	f := newFlags("stat")
	format := f.String("c", "%n %s %a %u:%g", "what to print")
	deref := f.Bool("L", false, "follow links")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	for _, n := range names {
		look := os.Lstat
		if *deref {
			look = os.Stat
		}
		fi, err := look(n)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		fmt.Println(strings.NewReplacer("%n", n, "%s", strconv.FormatInt(st.Size, 10), "%a", strconv.FormatUint(uint64(st.Mode&0o7777), 8),
			"%A", fi.Mode().String(), "%u", strconv.Itoa(int(st.Uid)), "%g", strconv.Itoa(int(st.Gid)), "%i", strconv.FormatUint(st.Ino, 10),
			"%h", strconv.FormatUint(uint64(st.Nlink), 10), "%Y", strconv.FormatInt(st.Mtim.Sec, 10), "%d", strconv.FormatUint(st.Dev, 10),
			"%F", kindOf(fi.Mode()), "%f", strconv.FormatUint(uint64(st.Mode), 16), "%%", "%").Replace(*format))
	}
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "regular file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeCharDevice != 0:
		return "character special file"
	}
	return "block special file"
}

func du(args []string) error {
	f := newFlags("du")
	sum, human := f.Bool("s", false, "the sum alone"), f.Bool("h", false, "with units")
	f.Bool("k", true, "in KiB")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	for _, n := range names {
		if _, err := usage(n, !*sum, *human); err != nil {
			return err
		}
	}
	return nil
}

func usage(path string, each, human bool) (int64, error) {
	seen := map[[2]uint64]bool{}
	var walk func(p string, top bool) (int64, error)
	walk = func(p string, top bool) (int64, error) {
		fi, err := os.Lstat(p)
		if err != nil {
			return 0, err
		}
		st := fi.Sys().(*syscall.Stat_t)
		if key := [2]uint64{st.Dev, st.Ino}; st.Nlink > 1 && !fi.IsDir() {
			if seen[key] {
				return 0, nil
			}
			seen[key] = true
		}
		total := st.Blocks * 512
		if fi.IsDir() {
			entries, err := os.ReadDir(p)
			if err != nil {
				return total, err
			}
			for _, e := range entries {
				n, err := walk(filepath.Join(p, e.Name()), false)
				if err != nil {
					return total, err
				}
				total += n
			}
		}
		if top || each && fi.IsDir() {
			fmt.Printf("%s\t%s\n", kib(total, human), p)
		}
		return total, nil
	}
	return walk(path, true)
}

// kib prints a size in KiB, or with a unit.
func kib(n int64, human bool) string {
	if !human {
		return strconv.FormatInt((n+1023)/1024, 10)
	}
	v := float64(n)
	for _, unit := range []string{"B", "K", "M", "G", "T"} {
		if v < 1024 {
			return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + unit
		}
		v /= 1024
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "P"
}

// sum is sha256sum and sha512sum, with -c.
func sum(name string, args []string) int {
	fresh := sha256.New
	if name == "sha512sum" {
		fresh = sha512.New
	}
	f := newFlags(name)
	check := f.Bool("c", false, "check the sums in the files")
	names, err := f.parse(args)
	if err == nil {
		if *check {
			err = checkSums(names, fresh)
		} else {
			err = each(names, func(n string, r io.Reader) error {
				s, err := sumOf(r, fresh())
				if err == nil {
					fmt.Printf("%s  %s\n", s, n)
				}
				return err
			})
		}
	}
	return plain(func([]string) error { return err })(name, nil)
}

func sumOf(r io.Reader, h hash.Hash) (string, error) {
	_, err := io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func checkSums(names []string, fresh func() hash.Hash) error {
	lines, err := readLines(names)
	if err != nil {
		return err
	}
	bad := false
	for _, line := range lines {
		want, file, ok := strings.Cut(line, "  ")
		if !ok {
			return fmt.Errorf("%q is no line of sums", line)
		}
		err := each([]string{file}, func(_ string, r io.Reader) error {
			got, err := sumOf(r, fresh())
			if err == nil && got != want {
				err = errQuiet
			}
			return err
		})
		if err != nil {
			bad = true
			fmt.Println(file + ": FAILED")
			continue
		}
		fmt.Println(file + ": OK")
	}
	if bad {
		return errQuiet
	}
	return nil
}

func which(_ string, args []string) int {
	code := 0
	for _, a := range args {
		found := false
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			p := filepath.Join(dir, a)
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				fmt.Println(p)
				found = true
				break
			}
		}
		if !found {
			code = 1
		}
	}
	return code
}

func syncAll([]string) error {
	syscall.Sync()
	return nil
}
