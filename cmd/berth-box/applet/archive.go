package applet

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// zip is gzip, gunzip and zcat.
func zip(name string, args []string) int {
	f := newFlags(name)
	out, back, keep := f.Bool("c", name == "zcat", "to standard output"), f.Bool("d", name != "gzip", "decompress"), f.Bool("k", false, "keep the file")
	f.Bool("f", false, "replace")
	level := gzip.DefaultCompression
	for i := 1; i <= 9; i++ {
		f.BoolFunc(fmt.Sprint(i), "level", func(string) error { level = i; return nil })
	}
	names, err := f.parse(args)
	if err == nil && len(names) == 0 {
		err = squeeze(os.Stdout, os.Stdin, *back, level)
	}
	for _, n := range names {
		if err == nil {
			err = squeezeFile(n, *out, *back, *keep, level)
		}
	}
	return plain(func([]string) error { return err })(name, nil)
}

func squeeze(w io.Writer, r io.Reader, back bool, level int) error {
	if back {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, z)
		return err
	}
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}

func squeezeFile(name string, out, back, keep bool, level int) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if out {
		return squeeze(os.Stdout, in, back, level)
	}
	to := name + ".gz"
	if back {
		if to = strings.TrimSuffix(name, ".gz"); to == name {
			return fmt.Errorf("%s: unknown suffix", name)
		}
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := errors.Join(squeeze(w, in, back, level), w.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	if keep {
		return nil
	}
	return os.Remove(name)
}

func xargs(args []string) error {
	f := newFlags("xargs")
	n, zero, replace := f.Int("n", 1000, "words of one command"), f.Bool("0", false, "words end with a zero byte"), f.String("I", "", "place of the word")
	noEmpty := f.Bool("r", false, "no command without words")
	// What follows the command's name is its own.
	at := 0
	for at < len(args) && strings.HasPrefix(args[at], "-") {
		if a := args[at]; a == "-n" || a == "-I" {
			at++
		}
		at++
	}
	if _, err := f.parse(args[:min(at, len(args))]); err != nil {
		return err
	}
	command := args[min(at, len(args)):]
	if len(command) == 0 {
		command = []string{"echo"}
	}
	s := bufio.NewScanner(os.Stdin)
	s.Buffer(make([]byte, 64<<10), maxLine)
	switch {
	case *zero:
		s.Split(func(data []byte, end bool) (int, []byte, error) {
			if i := strings.IndexByte(string(data), 0); i >= 0 {
				return i + 1, data[:i], nil
			}
			if end && len(data) > 0 {
				return len(data), data, nil
			}
			return 0, nil, nil
		})
	case *replace == "":
		s.Split(bufio.ScanWords)
	default:
		*n = 1
	}
	var words []string
	var failed error
	run := func() {
		line := append(command[:len(command):len(command)], words...)
		if *replace != "" {
			line = nil
			for _, c := range command {
				line = append(line, strings.ReplaceAll(c, *replace, words[0]))
			}
		}
		words = nil
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			failed = fmt.Errorf("%s: %w", line[0], err)
		}
	}
	ran := false
	for s.Scan() {
		if words = append(words, s.Text()); len(words) >= max(*n, 1) {
			run()
			ran = true
		}
	}
	if len(words) > 0 || !ran && !*noEmpty && *replace == "" {
		run()
	}
	return errors.Join(s.Err(), failed)
}

// tarOptions are tar's words, with or without the first dash.
type tarOptions struct {
	mode            byte
	file, dir       string
	zipped, verbose bool
	names           []string
	toStdout        bool
}

func parseTar(args []string) (o tarOptions, err error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args = append([]string{"-" + args[0]}, args[1:]...)
	}
	value := func(name string) (v string) {
		if len(args) == 0 {
			err = fmt.Errorf("%s: which?", name)
			return ""
		}
		v, args = args[0], args[1:]
		return v
	}
	for len(args) > 0 && err == nil {
		a := args[0]
		args = args[1:]
		if !strings.HasPrefix(a, "-") || a == "-" {
			o.names = append(o.names, a)
			continue
		}
		for i := 1; i < len(a) && err == nil; i++ {
			switch a[i] {
			case 'c', 'x', 't':
				o.mode = a[i]
			case 'z':
				o.zipped = true
			case 'v':
				o.verbose = true
			case 'p', 'o':
			case 'O':
				o.toStdout = true
			case 'f':
				o.file = value("-f")
			case 'C':
				o.dir = value("-C")
			default:
				err = fmt.Errorf("%s: takes c, x, t, z, v, p, O, f FILE and C FOLDER", a)
			}
		}
	}
	if err == nil && o.mode == 0 {
		err = errors.New("one of c, x and t")
	}
	return o, err
}

func tape(args []string) error {
	o, err := parseTar(args)
	if err != nil {
		return err
	}
	file := os.Stdout
	if o.mode != 'c' {
		file = os.Stdin
	}
	if o.file != "" && o.file != "-" {
		open := os.Open
		if o.mode == 'c' {
			open = os.Create
		}
		if file, err = open(o.file); err != nil {
			return err
		}
		defer file.Close()
	}
	if o.dir != "" {
		if err := os.Chdir(o.dir); err != nil {
			return err
		}
	}
	if o.mode == 'c' {
		return o.create(file)
	}
	return o.read(file)
}

func (o *tarOptions) create(w io.Writer) error {
	var z *gzip.Writer
	if o.zipped {
		z = gzip.NewWriter(w)
		w = z
	}
	out := tar.NewWriter(w)
	links := map[[2]uint64]string{}
	for _, n := range o.names {
		err := filepath.WalkDir(n, func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return o.add(out, p, links)
		})
		if err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil || z == nil {
		return err
	}
	return z.Close()
}

func (o *tarOptions) add(out *tar.Writer, p string, links map[[2]uint64]string) error {
	fi, err := os.Lstat(p)
	if err != nil {
		return err
	}
	target := ""
	if fi.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(fi, target)
	if err != nil {
		fmt.Fprintf(os.Stderr, "tar: %s: %v\n", p, err)
		return nil
	}
	h.Name = strings.TrimLeft(p, "/")
	if fi.IsDir() {
		h.Name += "/"
	}
	if st := fi.Sys().(*syscall.Stat_t); fi.Mode().IsRegular() && st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := links[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			links[key] = h.Name
		}
	}
	if o.verbose {
		fmt.Fprintln(os.Stderr, h.Name)
	}
	if err := out.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

func (o *tarOptions) read(r io.Reader) error {
	in := bufio.NewReader(r)
	r = in
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		r = z
	}
	root, err := os.OpenRoot(".")
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !o.wanted(h.Name) {
			continue
		}
		if o.mode == 't' || o.verbose {
			fmt.Println(h.Name)
		}
		switch {
		case o.mode == 't':
		case o.toStdout:
			_, err = io.Copy(os.Stdout, t)
		default:
			err = unpackEntry(root, h, t)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func (o *tarOptions) wanted(name string) bool {
	for _, n := range o.names {
		if n = path.Clean(n); path.Clean(name) == n || strings.HasPrefix(path.Clean(name), n+"/") {
			return true
		}
	}
	return len(o.names) == 0
}

// unpackEntry makes one entry below root and nowhere else.
func unpackEntry(root *os.Root, h *tar.Header, r io.Reader) error {
	name := strings.TrimLeft(path.Clean("/"+h.Name), "/")
	if name == "" {
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode & 0o777)
	if h.Typeflag != tar.TypeDir {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(strings.TrimLeft(path.Clean("/"+h.Linkname), "/"), name)
	case tar.TypeReg:
		var f *os.File
		if f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode); err == nil {
			_, err = io.Copy(f, r)
			err = errors.Join(err, f.Close())
		}
	default:
		fmt.Fprintf(os.Stderr, "tar: %s: left out: neither file, folder nor link\n", h.Name)
		return nil
	}
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := root.Chmod(name, h.FileInfo().Mode()); err != nil {
		return err
	}
	return root.Chtimes(name, h.ModTime, h.ModTime)
}
