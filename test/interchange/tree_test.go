package interchange

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// entry is a header of a layer, and the text of a regular file.
type entry struct {
	tar.Header
	text string
}

// at is a time with nanoseconds.
func at(second int64) time.Time { return time.Unix(1e9+second, 123456789) }

func file(name, text string, mode int64, uid, gid int) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Uid: uid, Gid: gid, Size: int64(len(text)), ModTime: at(1)}, text}
}

func folder(name string, mode int64, uid, gid int) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: uid, Gid: gid, ModTime: at(2)}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, Uid: 5, Gid: 6, ModTime: at(3)}}
}

// hard is a hard link to a file; as tar(1) does, it says of itself what the file
// says.
func hard(name, target string, of entry) entry {
	of.Typeflag, of.Name, of.Linkname, of.Size, of.text = tar.TypeLink, name, target, 0, ""
	return of
}

func with(e entry, xattrs map[string]string) entry {
	e.PAXRecords = map[string]string{}
	for k, v := range xattrs {
		e.PAXRecords["SCHILY.xattr."+k] = v
	}
	return e
}

// pinged is CAP_NET_RAW in the permitted and effective sets (capability.h).
const pinged = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// layers have everything that a layer may say. No upper layer takes one name
// of a file with several: on an overlay the others would go on counting it.
func layers() [][]entry {
	long := strings.Repeat("long/", 30) + strings.Repeat("n", 200)
	first := []entry{
		folder(".", 0o755, 0, 0), folder("etc", 0o755, 0, 0), folder("tmp", 0o1777, 0, 0), folder("srv", 0o2775, 10, 20), folder("home/a", 0o700, 1000, 1000),
		file("etc/passwd", "root:x:0:0\n", 0o644, 0, 0), file("etc/shadow", "secret", 0o640, 0, 42), file("bin/su", "su", 0o4755, 0, 0),
		file("bin/wall", "wall", 0o2755, 0, 5), file("home/a/f", "mine", 0o600, 1000, 1000), file("high", "ids", 0o644, 60000, 60001), file("empty", "", 0, 0, 0),
		file(long, "long", 0o644, 0, 0), file("ünïcode \u00a0", "x", 0o644, 0, 0), file("zeros", strings.Repeat("\x00", 1<<20)+"end", 0o644, 0, 0),
		with(file("bin/ping", "ping", 0o755, 0, 0), map[string]string{"security.capability": pinged}),
		with(file("attr", "a", 0o644, 0, 0), map[string]string{"user.one": "1", "user.bytes": "a\x01\xff"}),
		with(folder("attrs", 0o755, 0, 0), map[string]string{"user.dir": "yes"}),
		symlink("sh", "bin/su"), symlink("away", "/nowhere/at/all"), hard("etc/passwd-", "etc/passwd", file("", "", 0o644, 0, 0)),
		hard("bin/other", "/bin/su", file("", "", 0o4755, 0, 0)), {Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o622, Uid: 3, Gid: 4, ModTime: at(4)}},
		{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: at(4)}},
		{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Gid: 6, Devmajor: 7, Devminor: 300, ModTime: at(4)}},
		folder("gone", 0o755, 0, 0), file("gone/x", "x", 0o644, 0, 0), folder("opaque", 0o750, 7, 7), file("opaque/old", "old", 0o644, 0, 0),
		file("to-folder", "was a file", 0o644, 0, 0), folder("to-file", 0o755, 0, 0), file("to-file/in", "in", 0o644, 0, 0), file("replaced", "old", 0o4711, 1, 1),
	}
	second := []entry{
		folder("etc", 0o711, 0, 9), file("etc/.wh.shadow", "", 0o644, 0, 0), file("etc/new", "new", 0o644, 0, 0), file(".wh.gone", "", 0o644, 0, 0),
		folder("opaque", 0o750, 7, 7), file("opaque/.wh..wh..opq", "", 0o644, 0, 0), file("opaque/new", "new", 0o600, 8, 8),
		folder("to-folder", 0o755, 0, 0), file("to-folder/in", "in", 0o644, 0, 0), file("to-file", "is a file", 0o644, 0, 0), file("replaced", "new", 0o644, 0, 0),
		file("tmp/t", "in a folder that is not named here", 0o644, 0, 0), symlink("sh", "bin/wall"), hard("etc/new2", "etc/new", file("", "", 0o644, 0, 0)),
	}
	third := []entry{
		folder("etc", 0o711, 0, 9), file("etc/shadow", "back", 0o600, 0, 0), folder("gone", 0o700, 1, 1), file("opaque/.wh.new", "", 0o644, 0, 0), file("bin/wall", "patched", 0o2755, 0, 5),
	}
	return [][]entry{first, second, third}
}

func write(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		e.Format = tar.FormatPAX
		if err := t.WriteHeader(&e.Header); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		if _, err := io.WriteString(t, e.text); err != nil {
			return err
		}
	}
	return t.Close()
}

// look tells all of a tree, a line for each file.
func look(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%06o %d:%d %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		if path == root || st.Mtim.Sec > at(1e6).Unix() {
			// No layer names it: the moment of the unpacking. And umoci leaves the
			// root's own time.
			line = fmt.Sprintf("%06o %d:%d now", st.Mode, st.Uid, st.Gid)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR: // links and size are the file system's
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" links %d -> %s", st.Nlink, target)
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" links %d size %d %x", st.Nlink, st.Size, sha256.Sum256(data))
		default:
			line += fmt.Sprintf(" links %d device %d:%d", st.Nlink, unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		attrs, err := xattrs(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		out[name] = line + attrs
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func xattrs(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return "", err
	}
	var out strings.Builder
	names := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, " %s=%q", name, value[:n])
	}
	return out.String(), nil
}

// TestTree pulls one image with berth, and with skopeo to be unpacked by umoci:
// the trees are the same in owner, mode, xattrs, links and times.
func TestTree(t *testing.T) {
	r := newRig(t)
	name := r.publish("tree", layers())
	r.berth("pull", "-q", name)
	ours := r.berth("image", "mount", name)
	t.Cleanup(func() { r.berth("image", "unmount", name) })
	layout, bundle := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "bundle")
	r.skopeo.Run("copy", "-q", "--src-tls-verify=false", "docker://"+name, "oci:"+layout+":x")
	r.umoci.Run("unpack", "--image", layout+":x", bundle)
	want, got := look(t, filepath.Join(bundle, "rootfs")), look(t, ours)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("umoci -, we +:\n%s", diff)
	}
	if len(want) < 60 {
		t.Errorf("only %d files", len(want))
	}
}
