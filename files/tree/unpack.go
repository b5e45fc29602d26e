package tree

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Target says where and how a tar becomes files.
type Target struct {
	// Dir is the open folder that the tar's names start from. Path is its name, for
	// errors, and in Root its place.
	Dir  int
	Path string
	// Root is what the links of folders on the way to a name are resolved in, as if
	// it were "/". Without, -1, there may be no link on the way.
	Root int
	Options
}

// Options say how.
type Options struct {
	// From is what the tar's names begin with, To what they shall begin with instead.
	From string `json:"-"`
	To   string `json:"-"`
	// NoReplace lets no folder and file replace each other.
	NoReplace bool `json:"noReplace,omitempty"`
	// KeepOwner gives files the owner that the tar names, or with Owner that one;
	// else they belong to who makes them.
	KeepOwner bool   `json:"keepOwner,omitempty"`
	Owner     *Owner `json:"owner,omitempty"`
}

// Owner is a user and a group.
type Owner struct{ UID, GID int }

// Made tells what did not become as the tar says.
type Made struct {
	// Devices were left out: a user namespace may not make them.
	Devices int64 `json:"devices,omitempty"`
	// Foreign files belong to who made them, as their owner has no id here.
	Foreign int64 `json:"foreign,omitempty"`
}

// unpacker makes the files of one tar.
type unpacker struct {
	Target
	ctx    context.Context
	made   Made
	late   []*tar.Header // folders get their times when all is in them
	parent int           // the folder of the last entry, open; -1 none
	inside string        // its name
	buf    []byte
}

// Unpack makes the files of a plain tar. What has a name already is replaced, but
// two folders are one afterwards. Nothing is written through a link, and nothing
// outside of Dir, or of Root, is touched.
func Unpack(ctx context.Context, t *Target, r io.Reader) (Made, error) {
	u := &unpacker{Target: *t, ctx: ctx, parent: -1, buf: make([]byte, bufferSize)}
	defer u.forget()
	in := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil && (h == nil || err != tar.ErrInsecurePath) {
			return u.made, fault.New(fault.Invalid, "read the tar archive: %w", err)
		}
		if n >= maxEntries {
			return u.made, fault.New(fault.Invalid, "the tar archive has more than %d files", maxEntries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.entry(h, in); err != nil {
			return u.made, err
		}
	}
	for i := len(u.late) - 1; i >= 0; i-- {
		if err := u.folderTimes(u.late[i]); err != nil {
			return u.made, err
		}
	}
	_, err := io.Copy(io.Discard, r) // what pads a tar
	return u.made, err
}

// rename brings a name of the tar, or one that a hard link means, into place:
// relative to Dir and without any "..".
func (u *unpacker) rename(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 || len(name) >= unix.PathMax {
		return "", fault.New(fault.Invalid, "%.200q is no path", name)
	}
	tidy := strings.TrimPrefix(path.Clean(name), "/")
	if tidy == "" {
		tidy = "."
	}
	if tidy == ".." || strings.HasPrefix(tidy, "../") {
		return "", fault.New(fault.Invalid, "%q is outside of %q", name, u.Path)
	}
	from := strings.Trim(u.From, "/")
	if u.To == "" || u.To == u.From {
		return tidy, nil
	}
	switch {
	case tidy == from || from == "" && tidy == ".":
		return u.To, nil
	case from == "" || from == ".":
		return path.Join(u.To, tidy), nil
	}
	if rest, ok := strings.CutPrefix(tidy, from+"/"); ok {
		return path.Join(u.To, rest), nil
	}
	return tidy, nil
}

// entry makes what one head says.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	name, err := u.rename(h.Name)
	if err != nil {
		return err
	}
	h.Name = name
	fail := func(err error) error {
		if err == nil || fault.Is(err, fault.Conflict) {
			return err
		}
		return fmt.Errorf("%s: %w", path.Join(u.Path, name), err)
	}
	dir, base, err := u.folderOf(name)
	if err != nil {
		return fail(err)
	}
	if base == "." { // the folder that is there stays as it is
		return nil
	}
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == unix.ENOENT:
	case err != nil:
		return fail(err)
	default:
		done, err := u.replace(h, dir, base, &st, content)
		if done || err != nil {
			return fail(err)
		}
	}
	return fail(u.make(h, dir, base, content))
}

// replace makes room for an entry where something has its name. done: there is
// nothing left to do.
func (u *unpacker) replace(h *tar.Header, dir int, base string, st *unix.Stat_t, content io.Reader) (done bool, err error) {
	folder := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case folder && h.Typeflag == tar.TypeDir:
		return false, nil
	case folder && u.NoReplace:
		return true, fault.New(fault.Conflict, "cannot overwrite directory %q with non-directory %q", path.Join(u.Path, h.Name), u.Path)
	case h.Typeflag == tar.TypeDir && u.NoReplace:
		return true, fault.New(fault.Conflict, "cannot overwrite non-directory %q with directory %q", path.Join(u.Path, h.Name), u.Path)
	}
	err = remove(dir, base, 0)
	if err == unix.EBUSY && h.Typeflag == tar.TypeReg && st.Mode&unix.S_IFMT == unix.S_IFREG {
		return true, u.fill(dir, base, content) // a mount, such as /etc/hosts
	}
	return false, err
}

// fill writes a file in place.
func (u *unpacker) fill(dir int, base string, content io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EBUSY
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		return err
	}
	return u.write(fd, content)
}

// make makes an entry where nothing, or for a folder another folder, is.
func (u *unpacker) make(h *tar.Header, dir int, base string, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(h, dir, base)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.file(h, dir, base, content)
	case tar.TypeLink:
		return u.link(h, dir, base)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, dir, base); err != nil {
			return err
		}
		return u.special(h, dir, base, unix.S_IFLNK)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		err := unix.Mknodat(dir, base, kind|uint32(h.Mode)&0o7777, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		if err == unix.EPERM && h.Typeflag != tar.TypeFifo {
			u.made.Devices++
			return nil
		}
		if err != nil {
			return err
		}
		return u.special(h, dir, base, kind)
	}
	return fault.New(fault.Unsupported, "tar entries of the type %q are not supported", h.Typeflag)
}

func (u *unpacker) folder(h *tar.Header, dir int, base string) error {
	if err := unix.Mkdirat(dir, base, 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	fd, err := unix.Openat(dir, base, openFolder, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	u.late = append(u.late, h)
	return u.attributes(fd, h)
}

func (u *unpacker) file(h *tar.Header, dir int, base string, content io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := u.write(fd, content); err != nil {
		return err
	}
	if err := u.attributes(fd, h); err != nil {
		return err
	}
	return setTimes(fd, h)
}

func (u *unpacker) write(fd int, content io.Reader) error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		n, err := content.Read(u.buf)
		for b := u.buf[:n]; len(b) > 0; {
			m, werr := unix.Write(fd, b)
			if werr != nil && werr != unix.EINTR {
				return werr
			}
			b = b[max(m, 0):]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// link gives a file that is there another name; a symbolic link is not followed.
func (u *unpacker) link(h *tar.Header, dir int, base string) error {
	name, err := u.rename(h.Linkname)
	if err != nil {
		return err
	}
	parent, first := path.Split(name)
	from, err := u.openFolder(parent)
	if err != nil {
		return fmt.Errorf("link to %.200q: %w", name, err)
	}
	defer unix.Close(from)
	if err := unix.Linkat(from, first, dir, base, 0); err != nil {
		return fmt.Errorf("link to %.200q: %w", name, err)
	}
	return nil
}

// attributes gives an open file owner, mode and xattrs. The owner comes first: it
// takes set-id bits and capabilities away.
func (u *unpacker) attributes(fd int, h *tar.Header) error {
	if err := u.chown(h, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	return setXattrs(fd, h.PAXRecords)
}

// chown settles the owner. One that has no id here becomes who makes the file.
func (u *unpacker) chown(h *tar.Header, do func(uid, gid int) error) error {
	if !u.KeepOwner {
		return nil
	}
	o := Owner{h.Uid, h.Gid}
	if u.Owner != nil {
		o = *u.Owner
	}
	const most = 1<<32 - 2 // the one above means "leave it"
	if o.UID < 0 || o.GID < 0 || o.UID > most || o.GID > most {
		return fault.New(fault.Invalid, "its owner is %d:%d", o.UID, o.GID)
	}
	err := do(o.UID, o.GID)
	if err == unix.EINVAL || err == unix.EOVERFLOW {
		u.made.Foreign++
		return do(os.Geteuid(), os.Getegid())
	}
	return err
}

// special gives attributes to what cannot be opened: a link, FIFO or device that
// was made a moment ago. What somebody else put there meanwhile stays as it is.
func (u *unpacker) special(h *tar.Header, dir int, base string, kind uint32) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != kind {
		return err
	}
	err = u.chown(h, func(uid, gid int) error { return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH) })
	if err != nil {
		return err
	}
	if kind != unix.S_IFLNK {
		// fchmodat2(2), Linux 6.6; before, what mknod(2) gave stays.
		err := unix.Fchmodat(fd, "", uint32(h.Mode)&0o7777, unix.AT_EMPTY_PATH)
		if err != nil && err != unix.EOPNOTSUPP {
			return err
		}
	}
	return unix.UtimesNanoAt(fd, "", times(h), unix.AT_EMPTY_PATH)
}

func times(h *tar.Header) []unix.Timespec {
	at := h.ModTime
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	t := unix.NsecToTimespec(at.UnixNano())
	return []unix.Timespec{t, t}
}

// folderTimes sets the times of a folder that was made or merged before.
func (u *unpacker) folderTimes(h *tar.Header) error {
	dir, base, err := u.folderOf(h.Name)
	if err != nil {
		return nil // replaced by a later entry
	}
	fd, err := unix.Openat(dir, base, openFolder, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	return setTimes(fd, h)
}
