package volume

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/safepath"
)

// Export writes a volume's data as a tar. Its files may change meanwhile: each one
// is written with the size that it had when it was opened.
func (s *Store) Export(ctx context.Context, name string, w io.Writer) error {
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	dir, err := unix.Open(v.Data, openFolder, 0)
	if err != nil {
		return fmt.Errorf("export volume %s: %w", name, err)
	}
	defer unix.Close(dir)
	e := &exporter{ctx: ctx, tar: tar.NewWriter(w), links: map[inode]string{}}
	if err := e.folder(dir, ""); err != nil {
		return fmt.Errorf("export volume %s: %w", name, err)
	}
	return e.tar.Close()
}

type exporter struct {
	ctx   context.Context
	tar   *tar.Writer
	links map[inode]string
	depth int
}

func (e *exporter) folder(dir int, path string) error {
	if e.depth++; e.depth > maxDepth {
		return fault.New(fault.Invalid, "folders more than %d deep", maxDepth)
	}
	defer func() { e.depth-- }()
	if err := e.header(dir, path, tar.TypeDir, ""); err != nil {
		return err
	}
	names, err := namesOf(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		if err := e.entry(dir, name, filepath.Join(path, name)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", filepath.Join("/", path, name), err)
		}
	}
	return nil
}

func (e *exporter) entry(dir int, name, path string) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		sub, err := unix.Openat(dir, name, openFolder, 0)
		if err != nil {
			return err
		}
		defer unix.Close(sub)
		return e.folder(sub, path)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			return err
		}
		return e.header(fd, path, tar.TypeSymlink, string(buf[:n]))
	case unix.S_IFREG:
		if first, ok := e.links[inode{st.Dev, st.Ino}]; ok {
			return e.header(fd, path, tar.TypeLink, first)
		}
		if st.Nlink > 1 && len(e.links) < maxLinks {
			e.links[inode{st.Dev, st.Ino}] = path
		}
		return e.file(fd, path)
	case unix.S_IFIFO:
		return e.header(fd, path, tar.TypeFifo, "")
	case unix.S_IFCHR:
		return e.header(fd, path, tar.TypeChar, "")
	case unix.S_IFBLK:
		return e.header(fd, path, tar.TypeBlock, "")
	}
	return nil // a socket
}

// header writes an entry's head; fd may be an O_PATH descriptor.
func (e *exporter) header(fd int, path string, kind byte, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	h := &tar.Header{
		Typeflag: kind, Name: "./" + path, Linkname: target, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch kind {
	case tar.TypeDir:
		h.Name = strings.TrimSuffix(h.Name, "/") + "/"
		h.PAXRecords = xattrRecords(fd)
	case tar.TypeReg:
		h.Size = st.Size
		h.PAXRecords = xattrRecords(fd)
	case tar.TypeLink:
		h.Linkname = "./" + target
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return e.tar.WriteHeader(h)
}

func (e *exporter) file(fd int, path string) error {
	f, err := os.OpenFile(procPath(fd), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := e.header(int(f.Fd()), path, tar.TypeReg, ""); err != nil {
		return err
	}
	// Of a file that grows the beginning is written; one that shrinks is filled
	// with zeros, as the size stands in its head.
	n, err := io.Copy(e.tar, io.LimitReader(f, st.Size()))
	if err == nil && n < st.Size() {
		_, err = io.CopyN(e.tar, zeros{}, st.Size()-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

const xattrPrefix = "SCHILY.xattr."

func xattrRecords(fd int) map[string]string {
	buf := make([]byte, maxXattr)
	n, err := unix.Flistxattr(fd, buf)
	if err != nil || n == 0 {
		return nil
	}
	out := map[string]string{}
	value := make([]byte, maxXattr)
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "user.") || name == "security.capability" {
			if n, err := unix.Fgetxattr(fd, name, value); err == nil {
				out[xattrPrefix+name] = string(value[:n])
			}
		}
	}
	return out
}

// Import adds the files of a plain tar to a volume's data; of a file that is there
// the tar's wins. Paths and links are resolved as if the volume were "/", so that
// nothing outside is touched, whatever the tar says. A tar is what others wrote: a
// caller with rights runs this in a confined process.
func (s *Store) Import(ctx context.Context, name string, r io.Reader) error {
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer s.unlock(lock, name)
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	root, err := unix.Open(v.Data, openFolder, 0)
	if err != nil {
		return fmt.Errorf("import into volume %s: %w", name, err)
	}
	defer unix.Close(root)
	in := tar.NewReader(r)
	late := map[string]*tar.Header{} // folders get their times at the end
	for n := 0; ; n++ {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && n >= maxEntries {
			err = fault.New(fault.Invalid, "more than %d files", maxEntries)
		}
		if err == nil {
			err = importEntry(root, h, in, late)
		}
		if err != nil {
			path := "the archive"
			if h != nil {
				path = fmt.Sprintf("%.200q", h.Name)
			}
			return fmt.Errorf("import %s into volume %s: %w", path, name, err)
		}
	}
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(late))) {
		fd, err := safepath.OpenInRoot(root, path, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue // replaced by a later entry
		}
		err = applyHeader(fd, late[path])
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("import %s into volume %s: %w", path, name, err)
		}
	}
	return nil
}

// maxEntries bounds what one archive may bring.
const maxEntries = 10_000_000
