package unpack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// folder is what a layer's folder will be when the stream has ended. Until then
// it is 0700 and the worker's: nothing inherits a group or an ACL from it, and
// no mode hinders.
type folder struct {
	attributes
	named  bool // by an entry of its own
	opaque bool // hides the contents of the one in the layers below
	fresh  bool // made in the place of a whiteout: the one below is gone
}

// merge keeps what a later entry does not say of a folder that is there.
func (f *folder) merge(old *folder) *folder {
	if old != nil {
		f.opaque, f.fresh = old.opaque, old.fresh
	}
	return f
}

// opened keeps the folders open that are in use, by clean name.
type opened struct {
	root int // the layer's folder
	open map[string]int
}

// openFolders is how many folders stay open.
const openFolders = 64

// how is the lookup of every folder: never out of the layer, never by a link.
var how = unix.OpenHow{
	Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
	Resolve: resolve,
}

// openBeneath opens the folder name, a clean name, of root.
func openBeneath(root int, name string) (int, error) {
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(root, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// find opens a folder that exists. The descriptor is the extractor's and good
// until the next call.
func (o *opened) find(name string) (int, error) {
	if fd, ok := o.open[name]; ok {
		return fd, nil
	}
	at, rest := o.root, name
	if dir, base := cut(name); dir != "" {
		if fd, ok := o.open[dir]; ok {
			at, rest = fd, base
		}
	}
	fd, err := openBeneath(at, rest)
	if err != nil {
		return -1, err
	}
	if len(o.open) >= openFolders {
		o.forgetOpen()
	}
	o.open[name] = fd
	return fd, nil
}

func (o *opened) forgetOpen() {
	for _, fd := range o.open {
		unix.Close(fd)
	}
	clear(o.open)
}

// need is find that makes what is missing, as folders that no entry names.
func (x *extractor) need(name string) (int, error) {
	fd, err := x.find(name)
	if err != unix.ENOENT || name == "" {
		return fd, err
	}
	dir, base := cut(name)
	parent, err := x.need(dir)
	if err != nil {
		return -1, err
	}
	if err := x.mkdir(parent, name, base, &folder{}); err != nil {
		return -1, err
	}
	return x.find(name)
}

// mkdir makes the folder base in parent, which must not exist. name is its
// clean name.
func (x *extractor) mkdir(parent int, name, base string, f *folder) error {
	if int64(len(x.folders)) >= x.limits.Folders {
		return fault.New(fault.Invalid, "the layer has more than %d folders", x.limits.Folders)
	}
	if err := unix.Mkdirat(parent, base, 0o700); err != nil {
		return err
	}
	x.inodes++
	x.folders[name] = f
	return nil
}

// parent opens the folder that name's last component is in, and makes it if it
// is missing. Links on the way are followed inside the layer; real is name
// without them.
func (x *extractor) parent(name string) (fd int, base, real string, err error) {
	dir, base := cut(name)
	if fd, err = x.need(dir); err == unix.ELOOP || err == unix.ENOTDIR {
		if dir, err = x.follow(dir); err == nil {
			fd, err = x.need(dir)
		}
	}
	return fd, base, below(dir, base), err
}

// parentIfThere is parent for a target that must exist.
func (x *extractor) parentIfThere(name string) (fd int, base, real string, err error) {
	dir, base := cut(name)
	if fd, err = x.find(dir); err == unix.ELOOP || err == unix.ENOTDIR {
		if dir, err = x.follow(dir); err == nil {
			fd, err = x.find(dir)
		}
	}
	return fd, base, below(dir, base), err
}

// maxLinks is how many links one name may lead over, path_resolution(7).
const maxLinks = 40

// follow gives the clean name of a folder with all links in it resolved, as if
// the layer were "/". It works on names: what it returns is opened by find,
// which follows none. A whiteout in the way becomes a folder that replaces the
// one below.
func (x *extractor) follow(dir string) (string, error) {
	todo, at, links, missing := dir, "", 0, false
	for todo != "" {
		var part string
		part, todo, _ = strings.Cut(todo, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			at, _ = cut(at)
			missing = false
			continue
		}
		next := below(at, part)
		if missing {
			at = next
			continue
		}
		fd, err := x.find(at)
		if err == unix.ENOENT {
			missing, at = true, next
			continue
		}
		if err != nil {
			return "", err
		}
		var st unix.Stat_t
		if err = unix.Fstatat(fd, part, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil && err != unix.ENOENT {
			return "", err
		}
		switch {
		case err == unix.ENOENT:
			missing, at = true, next
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			at = next
		case isWhiteout(&st):
			if err := x.replaceWhiteout(fd, next, part, &folder{}); err != nil {
				return "", err
			}
			at = next
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			if links++; links > maxLinks {
				return "", unix.ELOOP
			}
			text, err := readlink(fd, part)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(text, "/") {
				at = ""
			}
			if todo = text + "/" + todo; len(todo) > 2*unix.PathMax {
				return "", unix.ENAMETOOLONG
			}
		default:
			return "", unix.ENOTDIR
		}
	}
	return clean(at, x.limits.Depth)
}

func readlink(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// replaceWhiteout makes a folder where a whiteout is: what the layers below have
// there stays hidden.
func (x *extractor) replaceWhiteout(parent int, name, base string, f *folder) error {
	if err := unix.Unlinkat(parent, base, 0); err != nil {
		return err
	}
	x.inodes--
	f.opaque, f.fresh = true, true
	return x.mkdir(parent, name, base, f)
}

// finish gives all folders what they are to have, when nothing is made any more.
func (x *extractor) finish() error {
	if x.folders[""].opaque {
		if err := x.ask(request{Op: opHide}, nil); err != nil {
			return fmt.Errorf("hide the layers below: %w", err)
		}
	}
	for name, f := range x.folders {
		if !f.named {
			if err := x.inherit(name, f); err != nil {
				return entryError(name, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.folders)) { // each after the one that it is in, for find
		err := x.finishFolder(name, x.folders[name])
		// A later entry put something else in its place.
		if gone := err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP; err != nil && (!gone || name == "") {
			return entryError(name, err)
		}
	}
	return nil
}

// inherit takes a folder's attributes from the layers below.
func (x *extractor) inherit(name string, f *folder) error {
	f.Mode = 0o755
	if f.fresh {
		return nil
	}
	for dir := name; dir != ""; {
		dir, _ = cut(dir)
		if above := x.folders[dir]; above != nil && above.opaque {
			return nil // what the layers below have there is hidden
		}
	}
	var r reply
	if err := x.ask(request{Op: opParent, Path: []byte(name)}, &r); err != nil {
		return err
	}
	if r.Attr != nil {
		f.attributes = *r.Attr
	}
	return nil
}

func (x *extractor) finishFolder(name string, f *folder) error {
	fd, err := x.find(name)
	if err != nil {
		return err
	}
	if f.opaque && name != "" { // overlay does not look for it on a layer's root
		if err := x.setOpaque(fd, name); err != nil {
			return err
		}
	}
	if err := x.setAll(fd, &f.attributes, unix.S_IFDIR); err != nil {
		return err
	}
	return x.addSize(fd)
}

func (x *extractor) setOpaque(fd int, name string) error {
	if x.userXattr {
		return unix.Fsetxattr(fd, "user.overlay.opaque", []byte("y"), 0)
	}
	return x.ask(request{Op: opOpaque, Path: []byte(name)}, nil)
}
