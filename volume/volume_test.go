package volume

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

func open(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(Options{Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Warn: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *Store, r CreateRequest) *Volume {
	t.Helper()
	v, made, err := s.Create(t.Context(), r)
	if err != nil || !made {
		t.Fatalf("%v, %v", made, err)
	}
	return v
}

func nobody(string) ([]string, error) { return nil, nil }

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other owners, devices or mounts")
	}
}

func TestLife(t *testing.T) {
	s := open(t)
	v := create(t, s, CreateRequest{Name: "data", Labels: map[string]string{"a": "b"}})
	if v.Driver != "local" || !strings.HasSuffix(v.Data, "/volumes/data/_data") {
		t.Errorf("%+v", v)
	}
	if st, err := os.Stat(v.Data); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
	if again, made, err := s.Create(t.Context(), CreateRequest{Name: "data"}); err != nil || made || again.Labels["a"] != "b" {
		t.Errorf("again: %+v, %v, %v", again, made, err)
	}
	anon := create(t, s, CreateRequest{Anonymous: true, Passing: true})
	if len(anon.Name) != 64 {
		t.Errorf("name %q", anon.Name)
	}
	if list, err := s.List(); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if at, err := s.Attach(t.Context(), "data"); err != nil || at.Path != v.Data || at.ReadOnly {
		t.Errorf("%+v, %v", at, err)
	}
	used := func(name string) ([]string, error) {
		if name == "data" {
			return []string{"c1", "c2"}, nil
		}
		return nil, nil
	}
	untold := func(string) ([]string, error) { return nil, errors.New("who knows") }
	if _, pruned := s.Prune(t.Context(), true, untold, nil); s.Remove(t.Context(), "data", untold) == nil || s.Rename(t.Context(), "data", "other", untold) == nil || pruned == nil {
		t.Error("something was done to volumes whose users cannot be told")
	}
	if err := s.Remove(t.Context(), "data", used); err == nil || err.Error() != "remove data: volume is in use - [c1, c2]" || !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if err := s.Rename(t.Context(), "data", "other", used); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if err := s.Rename(t.Context(), "data", anon.Name, nobody); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if err := s.Rename(t.Context(), "data", "other", nobody); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get("other"); err != nil || v.Name != "other" || v.Labels["a"] != "b" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := os.WriteFile(filepath.Join(s.data(anon.Name), "f"), make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := s.Prune(t.Context(), false, nobody, nil)
	if err != nil || !slices.Equal(p.Names, []string{anon.Name}) || p.Bytes < 8192 {
		t.Errorf("%+v, %v", p, err)
	}
	keep := func(v *Volume) bool { return v.Labels["a"] == "b" }
	if p, err := s.Prune(t.Context(), true, nobody, keep); err != nil || len(p.Names) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := s.Prune(t.Context(), true, nobody, nil); err != nil || len(p.Names) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, dir := range []string{s.dir(), s.locks()} {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// What a killed create or removal left goes with the next removal, prune or repair;
// what is at work is left alone.
func TestKilledVerbs(t *testing.T) {
	s := open(t)
	create(t, s, CreateRequest{Name: "data"})
	staged := s.home(hidden + "half")
	half := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(staged, dataFolder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() {
		t.Helper()
		if _, err := os.Lstat(staged); !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}
	half()
	lock, err := s.lock("half")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(true); err != nil || len(found) > 0 {
		t.Errorf("at work: %+v, %v", found, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(false); err != nil || len(found) != 1 || found[0].Repaired || found[0].Harm {
		t.Errorf("looked at: %+v, %v", found, err)
	}
	if found, err := s.Check(true); err != nil || len(found) != 1 || !found[0].Repaired {
		t.Errorf("repaired: %+v, %v", found, err)
	}
	gone()
	half()
	if err := s.Remove(t.Context(), "half", nobody); !fault.Is(err, fault.NotFound) {
		t.Errorf("remove: %v", err)
	}
	gone()
	half()
	if pruned, err := s.Prune(t.Context(), false, nobody, nil); err != nil || len(pruned.Names) > 0 {
		t.Errorf("prune: %v, %v", pruned, err)
	}
	gone()
	if locks, _ := os.ReadDir(s.locks()); len(locks) != 1 {
		t.Errorf("locks left: %v", locks)
	}
	if err := os.WriteFile(s.lockf("gone"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); err != nil {
		t.Error(err)
	}
	if locks, _ := os.ReadDir(s.locks()); len(locks) != 1 {
		t.Errorf("locks left by a list: %v", locks)
	}
	if err := os.Remove(filepath.Join(s.home("data"), recordFile)); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(true); err != nil || len(found) != 1 || !found[0].Harm || found[0].Repaired {
		t.Errorf("without its record: %+v, %v", found, err)
	}
}

func TestErrors(t *testing.T) {
	s := open(t)
	for want, r := range map[string]CreateRequest{
		`create a b: "a b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`: {Name: "a b"},
		`create x: volume name is too short, names should be at least two alphanumeric characters`:                                                                                         {Name: "x"},
		`create ab: error looking up volume plugin nope: plugin "nope" not found`:                                                                                                          {Name: "ab", Driver: "nope"},
		`create ab: invalid option: "foo"`:                    {Name: "ab", Options: map[string]string{"foo": "1"}},
		`create ab: missing required option: "device"`:        {Name: "ab", Options: map[string]string{"type": "tmpfs"}},
		`create ab: invalid size: 'much'`:                     {Name: "ab", Options: map[string]string{"size": "much"}},
		`create ab: device "x" of a bind is no absolute path`: {Name: "ab", Options: map[string]string{"type": "none", "o": "bind", "device": "x"}},
	} {
		if _, _, err := s.Create(t.Context(), r); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, name := range []string{"nope", "../x", ""} {
		if _, err := s.Get(name); err == nil || err.Error() != "get "+name+": no such volume" || !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
		if err := s.Remove(t.Context(), name, nobody); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
	if left, _ := os.ReadDir(s.dir()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Of many that create, remove and use one name, all see a whole volume or none.
func TestAtOnce(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 30 {
				if i%2 == 0 {
					if _, _, err := s.Create(t.Context(), CreateRequest{Name: "shared", Passing: true}); err != nil {
						t.Error(err)
					}
				} else if err := s.Remove(t.Context(), "shared", nobody); err != nil && !fault.Is(err, fault.NotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Remove(t.Context(), "shared", nobody); err != nil && !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.dir()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBind(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	create(t, s, CreateRequest{Name: "bound", Options: map[string]string{"type": "none", "o": "bind,ro", "device": dir}})
	if at, err := s.Attach(t.Context(), "bound"); err != nil || at.Path != dir || !at.ReadOnly {
		t.Errorf("%+v, %v", at, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, err := s.Attach(t.Context(), "bound")
	if err == nil || !strings.HasPrefix(err.Error(), "failed to mount local volume: mount "+dir+":") || !strings.HasSuffix(err.Error(), ": no such file or directory") {
		t.Errorf("%v", err)
	}
}

func TestTmpfs(t *testing.T) {
	needRoot(t)
	s := open(t)
	v := create(t, s, CreateRequest{Name: "fast", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777,nosuid"}})
	t.Cleanup(func() { _ = unix.Unmount(v.Data, unix.MNT_DETACH) })
	for range 2 {
		if at, err := s.Attach(t.Context(), "fast"); err != nil || at.Path != v.Data {
			t.Fatalf("%+v, %v", at, err)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(v.Data, &st); err != nil || st.Type != unix.TMPFS_MAGIC || st.Blocks*uint64(st.Bsize) != 1<<20 || st.Flags&unix.ST_NOSUID == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := s.Detach(t.Context(), "fast", func(string) ([]string, error) { return []string{"c"}, nil }); err != nil || !mounted(v.Data) {
		t.Errorf("detached while in use: %v", err)
	}
	if err := s.Detach(t.Context(), "fast", nobody); err != nil || mounted(v.Data) {
		t.Errorf("not detached: %v", err)
	}
	if _, err := s.Attach(t.Context(), "fast"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "fast", nobody); err != nil {
		t.Error(err)
	}
}

// tree makes an image's root with all kinds of files below srv.
func tree(t *testing.T) *os.File {
	t.Helper()
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(root+"/srv/sub/deep", 0o755), os.WriteFile(root+"/srv/file", []byte("content"), 0o640),
		os.Symlink("/etc/passwd", root+"/srv/link"), os.Link(root+"/srv/file", root+"/srv/sub/again"),
		os.WriteFile(root+"/srv/sub/deep/x", bytes.Repeat([]byte("y"), 1<<20), 0o4755), os.Chmod(root+"/srv/sub/deep/x", 0o4755|os.ModeSetuid),
		os.Chmod(root+"/srv", 0o700), os.Symlink("srv", root+"/here"), os.Symlink("/../../srv/sub", root+"/there"),
		os.Symlink("../../../../../../../../../../../tmp", root+"/out"), os.WriteFile(root+"/plainfile", nil, 0o600),
		os.Chtimes(root+"/srv/file", time.Unix(1e9, 0), time.Unix(1e9, 0)), unix.Mkfifo(root+"/srv/fifo", 0o600),
		os.Chtimes(root+"/srv/fifo", time.Unix(2e8, 0), time.Unix(2e8, 0)), os.MkdirAll(root+"/tmp", 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// list describes all files below a folder.
func list(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		text := ""
		switch {
		case info.Mode().IsRegular():
			b, _ := os.ReadFile(path)
			text = fmt.Sprintf("%d %.10s", len(b), b)
		case info.Mode()&os.ModeSymlink != 0:
			text, _ = os.Readlink(path)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		mtime := int64(0)
		if !info.IsDir() {
			mtime = st.Mtim.Sec
		}
		fmt.Fprintf(&out, "%s %o %d:%d links %d at %d %s\n", rel, st.Mode, st.Uid, st.Gid, st.Nlink, mtime, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCopyUp(t *testing.T) {
	root := tree(t)
	if os.Geteuid() == 0 {
		for _, err := range []error{
			os.Chown(root.Name()+"/srv/file", 7, 8), os.Lchown(root.Name()+"/srv/link", 9, 9), os.Chown(root.Name()+"/srv", 33, 33),
			unix.Mknod(root.Name()+"/srv/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	s := open(t)
	for _, target := range []string{"/srv", "/here", "there/.."} {
		name := strings.Trim(strings.ReplaceAll(target, "/", "-"), "-.") + "v"
		v := create(t, s, CreateRequest{Name: name})
		if err := s.CopyUp(t.Context(), name, root, target); err != nil {
			t.Fatal(err)
		}
		if got, want := list(t, v.Data), list(t, root.Name()+"/srv"); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", target, got, want)
		}
		// A volume with files is left alone.
		if err := os.RemoveAll(v.Data + "/sub"); err != nil {
			t.Fatal(err)
		}
		if err := s.CopyUp(t.Context(), name, root, target); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(v.Data + "/sub"); !os.IsNotExist(err) {
			t.Error("copied again")
		}
	}
	for _, target := range []string{"/nothing", "/plainfile", "/out", "/srv/link"} {
		name := "empty" + strings.ReplaceAll(target, "/", "-")
		v := create(t, s, CreateRequest{Name: name})
		if err := s.CopyUp(t.Context(), name, root, target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if got := list(t, v.Data); strings.Count(got, "\n") != 1 {
			t.Errorf("%s brought %s", target, got)
		}
	}
}

// A copy that was killed is gone on with; what somebody wrote meanwhile stays.
func TestCopyUpGoesOn(t *testing.T) {
	root := tree(t)
	s := open(t)
	v := create(t, s, CreateRequest{Name: "half"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CopyUp(ctx, "half", root, "/srv"); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(v.Data+"/file", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.CopyUp(t.Context(), "half", root, "/srv"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(v.Data + "/file"); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(v.Data + "/sub/deep/x"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(s.home("half"), fillingMark)); !os.IsNotExist(err) {
		t.Errorf("the mark: %v", err)
	}
}

// wide makes a tree of folders with a file of two names each.
func wide(t *testing.T, dir, content string) {
	t.Helper()
	for i := range 40 {
		d := fmt.Sprintf("%s/d%d", dir, i)
		for _, err := range []error{os.MkdirAll(d, 0o755), os.WriteFile(d+"/secret", []byte(content), 0o644), os.Link(d+"/secret", d+"/other")} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A container that shares the volume puts a link to the host where a folder of
// the image goes, before and while it is copied: nothing outside is touched.
func TestCopyUpAgainstLinks(t *testing.T) {
	canary, image := t.TempDir(), t.TempDir()
	wide(t, canary, "host")
	wide(t, image+"/srv/a", "image")
	if err := os.WriteFile(image+"/srv/a/new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := list(t, canary)
	root, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := open(t)
	for n := range 10 {
		name := fmt.Sprint("race", n)
		v := create(t, s, CreateRequest{Name: name, Passing: true})
		if n == 0 {
			for _, err := range []error{os.WriteFile(filepath.Join(s.home(name), fillingMark), nil, 0o600), os.Symlink(canary, v.Data+"/a")} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n > 0 {
				select {
				case <-stop:
					return
				default:
				}
				_ = os.Symlink(canary, v.Data+"/l")
				_ = unix.Renameat2(unix.AT_FDCWD, v.Data+"/a", unix.AT_FDCWD, v.Data+"/l", unix.RENAME_EXCHANGE)
			}
		})
		// Whether it comes to an end is the racer's luck.
		err := s.CopyUp(t.Context(), name, root, "/srv")
		close(stop)
		wg.Wait()
		if n == 0 && err != nil {
			t.Error(err)
		}
		// A file of the host's in the volume is a leak, too.
		if got := grep(t, v.Data, "host"); got != "" {
			t.Errorf("%s is the host's", got)
		}
	}
	if after := list(t, canary); after != before {
		t.Error("the host's files were changed")
	}
}

// grep looks for a file with a content below a folder, following no link.
func grep(t *testing.T, dir, content string) (found string) {
	t.Helper()
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			if b, err := os.ReadFile(path); err == nil && string(b) == content {
				found = path
			}
		}
		return nil
	})
	return found
}

func TestExportImport(t *testing.T) {
	root := tree(t)
	s := open(t)
	a := create(t, s, CreateRequest{Name: "from"})
	if err := s.CopyUp(t.Context(), "from", root, "/srv"); err != nil {
		t.Fatal(err)
	}
	_ = unix.Setxattr(a.Data+"/file", "user.a", []byte("b"), 0)
	var buf bytes.Buffer
	if err := s.Export(t.Context(), "from", &buf); err != nil {
		t.Fatal(err)
	}
	b := create(t, s, CreateRequest{Name: "to"})
	if err := s.Import(t.Context(), "to", bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, b.Data), list(t, a.Data); got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(b.Data+"/file", "user.a", value); err == nil && string(value[:n]) != "b" {
		t.Errorf("xattr %q", value[:n])
	}
	if err := s.Import(t.Context(), "to", bytes.NewReader(buf.Bytes())); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// A tar that leads out by names, links or links to links touches nothing outside.
func TestHostileImport(t *testing.T) {
	canary := t.TempDir()
	if err := os.WriteFile(canary+"/secret", []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := list(t, canary)
	uid, gid := os.Getuid(), os.Getgid()
	for name, heads := range map[string][]tar.Header{
		"a link, then through it": {{Typeflag: tar.TypeSymlink, Name: "x", Linkname: canary}, {Typeflag: tar.TypeReg, Name: "x/secret", Size: 1}},
		"a link, then itself":     {{Typeflag: tar.TypeSymlink, Name: "x", Linkname: canary + "/secret"}, {Typeflag: tar.TypeReg, Name: "x", Size: 1}},
		"a link, then a folder":   {{Typeflag: tar.TypeSymlink, Name: "x", Linkname: canary}, {Typeflag: tar.TypeDir, Name: "x", Mode: 0o777}},
		"dots":                    {{Typeflag: tar.TypeReg, Name: "../../../../../../../../../../" + canary + "/secret", Size: 1}},
		"a hard link to the host": {{Typeflag: tar.TypeLink, Name: "x", Linkname: canary + "/secret"}, {Typeflag: tar.TypeReg, Name: "x", Size: 1}},
		"a hard link by a link":   {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: canary}, {Typeflag: tar.TypeLink, Name: "x", Linkname: "l/secret"}},
		"an owner of -1":          {{Typeflag: tar.TypeReg, Name: "x", Uid: -1, Size: 1}},
		"an odd type":             {{Typeflag: 'Z', Name: "x"}},
	} {
		s := open(t)
		create(t, s, CreateRequest{Name: "victim"})
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range heads {
			if h.Uid == 0 {
				h.Uid = uid
			}
			h.Gid, h.Mode = gid, h.Mode|0o644
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				if _, err := w.Write([]byte("!")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		err := s.Import(t.Context(), "victim", &buf)
		t.Logf("%s: %v", name, err)
		if after := list(t, canary); after != before {
			t.Errorf("%s: the host's files were changed:\n%s", name, after)
		}
	}
}

func FuzzImport(f *testing.F) {
	s, err := Open(Options{Root: f.TempDir(), Run: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	v, _, err := s.Create(f.Context(), CreateRequest{Name: "fuzz", Passing: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = s.Import(t.Context(), "fuzz", bytes.NewReader(b))
		if entries, err := os.ReadDir(filepath.Dir(v.Data)); err != nil || len(entries) != 2 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}
