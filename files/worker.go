package files

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/files/tree"
	"berth/sys/confine"
	"berth/sys/safepath"
)

// Main is the whole life of a visit's process. It gives the exit status, and does
// nothing but fail where Enter has not started it.
func Main(args []string) int {
	control, data := -1, -1
	if len(args) == 2 {
		control, data = number(args[0]), number(args[1])
	}
	if control < 0 || data < 0 {
		os.Stderr.WriteString("berth: " + Word + " is berth's own affair\n")
		return 1
	}
	unix.CloseOnExec(control)
	unix.CloseOnExec(data)
	unix.Umask(0)
	sock := os.NewFile(uintptr(control), "control")
	w := &worker{out: json.NewEncoder(sock), data: os.NewFile(uintptr(data), "tar")}
	root, err := unix.Open(top, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		w.root = root
		err = confine.Worker(confine.FileCaps)
	}
	if err != nil {
		_ = w.out.Encode(&reply{Fail: failure(err)})
		return 1
	}
	if err := w.out.Encode(&reply{}); err != nil {
		return 1
	}
	in := json.NewDecoder(sock)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return 0 // the caller closed it, or is no more
		}
		r, err := w.serve(&o)
		if err != nil {
			r = &reply{Fail: failure(err)}
		}
		if err := w.out.Encode(r); err != nil {
			return 1
		}
	}
}

// number is that of a socket.
func number(s string) int {
	fd, err := strconv.Atoi(s)
	var st unix.Stat_t
	if err != nil || fd <= 2 || unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return -1
	}
	return fd
}

// worker is a visit, seen from inside.
type worker struct {
	root int
	out  *json.Encoder
	data *os.File
}

// serve does one order. A pack or unpack is the last one.
func (w *worker) serve(o *order) (r *reply, err error) {
	defer func() {
		if v := recover(); v != nil { // the parser reads foreign bytes
			r, err = nil, fault.New(fault.Invalid, "%s: %v", o.Op, v)
		}
	}()
	switch o.Op {
	case opStat:
		e, err := tree.Find(w.root, string(o.Path))
		if err != nil {
			return nil, err
		}
		return &reply{Stat: &e.Stat, Name: []byte(e.Stat.Name), Link: []byte(e.Stat.LinkTarget)}, e.Close()
	case opRead:
		text, err := w.read(string(o.Path))
		return &reply{Text: text}, err
	case opPack:
		defer w.data.Close()
		return &reply{}, w.pack(o)
	case opUnpack:
		defer w.data.Close()
		made, err := w.unpack(o)
		return &reply{Made: made}, err
	}
	return nil, fault.New(fault.Invalid, "an unknown order")
}

func (w *worker) pack(o *order) error {
	e, err := tree.Find(w.root, string(o.Path))
	if err != nil {
		return err
	}
	defer e.Close()
	s := &tree.Source{Dir: e.Dir, Base: e.Base, Name: e.Name}
	if o.Bare {
		s.Name, s.WholeSeconds = "", true
	}
	return tree.Pack(context.Background(), w.data, s)
}

func (w *worker) unpack(o *order) (*Made, error) {
	path := tree.Absolute(string(o.Path))
	dir, err := safepath.OpenInRoot(w.root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOTDIR {
		return nil, fault.New(fault.Invalid, "extraction point is not a directory")
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	if err := writable(w.root, dir); err != nil {
		return nil, err
	}
	t := &tree.Target{Dir: dir, Path: path, Root: w.root}
	if o.Options != nil {
		t.Options = *o.Options
		t.From, t.To = string(o.From), string(o.To)
	}
	made, err := tree.Unpack(context.Background(), t, w.data)
	return &made, err
}

// writable refuses a folder on a read-only mount in docker's words.
func writable(root, dir int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(dir, &fs); err != nil || fs.Flags&unix.ST_RDONLY == 0 {
		return err
	}
	var a, b unix.Statx_t
	for fd, st := range map[int]*unix.Statx_t{root: &a, dir: &b} {
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, st); err != nil {
			return err
		}
	}
	if a.Mnt_id == b.Mnt_id {
		return fault.New(fault.Permission, "container rootfs is marked read-only")
	}
	return fault.New(fault.Permission, "mounted volume is marked read-only")
}

// maxText is what read gives of a file.
const maxText = 1 << 20

// read gives the beginning of a small regular file.
func (w *worker) read(path string) ([]byte, error) {
	fd, err := safepath.OpenInRoot(w.root, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fault.New(fault.Invalid, "%s is no file", path)
	}
	return io.ReadAll(io.LimitReader(f, maxText))
}
