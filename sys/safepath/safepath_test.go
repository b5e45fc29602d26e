package safepath

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// place is a root with a canary beside it that nothing may touch.
type place struct {
	root   string
	canary string
	fd     int
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{root: filepath.Join(dir, "root"), canary: filepath.Join(dir, "canary")}
	for _, d := range []string{p.root, p.canary} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if p.fd, err = unix.Open(p.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

func (p *place) link(t testing.TB, name, target string) {
	t.Helper()
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.ReplaceAll(target, "CANARY", p.canary), path); err != nil {
		t.Fatal(err)
	}
}

// where says what a descriptor is, relative to the root; "OUT" outside of it.
func (p *place) where(t testing.TB, fd int) string {
	t.Helper()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(path, p.root)
	if !ok || rest != "" && rest[0] != '/' {
		return "OUT " + path
	}
	return "/" + strings.TrimPrefix(rest, "/")
}

func (p *place) untouched(t testing.TB) {
	t.Helper()
	list, err := os.ReadDir(p.canary)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 0 {
		t.Errorf("outside the root there is now %v", list)
	}
}

// trap fills a root with links that lead out, in circles or nowhere.
func (p *place) trap(t testing.TB) {
	p.link(t, "abs", "CANARY")
	p.link(t, "up", "../canary")
	p.link(t, "upup", "../../../../../../../../../../CANARY")
	p.link(t, "d/deep", "../../canary")
	p.link(t, "hop", "abs")
	p.link(t, "loop", "pool")
	p.link(t, "pool", "loop")
	p.link(t, "run", "CANARY/var/run")
	p.link(t, "dot", "./d/./new")
	p.link(t, "slash", "/")
	if err := os.WriteFile(filepath.Join(p.root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestMkdirAllInRoot(t *testing.T) {
	for _, tt := range []struct {
		path, want string
		err        error
	}{
		{path: "a/b/c", want: "/a/b/c"},
		{path: "/", want: "/"},
		{path: "", want: "/"},
		{path: "//a//./b/", want: "/a/b"},
		{path: "../../x", want: "/x"},
		{path: "slash/slash/x", want: "/x"},
		{path: "run/x", want: "CANARY/var/run/x"},
		{path: "dot/x", want: "/d/new/x"},
		{path: "abs/x", want: "CANARY/x"},
		{path: "up/x", want: "/canary/x"},
		{path: "upup/x", want: "CANARY/x"},
		{path: "d/deep/x", want: "/canary/x"},
		{path: "hop/x/y", want: "CANARY/x/y"},
		{path: "loop/x", err: unix.ELOOP},
		{path: "file", err: unix.ENOTDIR},
		{path: "file/x", err: unix.ENOTDIR},
		{path: "new/../x", err: unix.ENOENT},
		{path: strings.Repeat("x", 300), err: unix.ENAMETOOLONG},
		{path: strings.Repeat("x/", 3000), err: unix.ENAMETOOLONG},
	} {
		p := newPlace(t)
		p.trap(t)
		fd, err := MkdirAllInRoot(p.fd, tt.path, 0o755)
		if err != tt.err {
			t.Errorf("%.40q: %v, want %v", tt.path, err, tt.err)
		}
		if err == nil {
			if got, want := p.where(t, fd), strings.ReplaceAll(tt.want, "CANARY", p.canary); got != want {
				t.Errorf("%q is %s, want %s", tt.path, got, want)
			}
			unix.Close(fd)
		}
		p.untouched(t)
	}
}

func TestMkfileInRoot(t *testing.T) {
	for _, tt := range []struct {
		path, want string
		err        error
	}{
		{path: "a/b", want: "/a/b"},
		{path: "file", want: "/file"},
		{path: "abs", want: "CANARY"},
		{path: "abs/x", want: "CANARY/x"},
		{path: "up", want: "/canary"},
		{path: "hop", want: "CANARY"},
		{path: "run", want: "CANARY/var/run"},
		{path: "d", want: "/d"},
		{path: "loop", err: unix.ELOOP},
		{path: "/", want: "/"},
		{path: "new/..", err: ErrNoName},
		{path: "file/x", err: unix.ENOTDIR},
	} {
		p := newPlace(t)
		p.trap(t)
		fd, err := MkfileInRoot(p.fd, tt.path, 0o644)
		if err != tt.err {
			t.Errorf("%q: %v, want %v", tt.path, err, tt.err)
		}
		if err == nil {
			if got, want := p.where(t, fd), strings.ReplaceAll(tt.want, "CANARY", p.canary); got != want {
				t.Errorf("%q is %s, want %s", tt.path, got, want)
			}
			unix.Close(fd)
		}
		p.untouched(t)
	}
}

func TestOpenInRoot(t *testing.T) {
	p := newPlace(t)
	p.trap(t)
	if err := os.WriteFile(filepath.Join(p.canary, "secret"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"abs/secret", "up/secret", "upup/secret", "d/deep/secret", "hop/secret", "/../canary/secret"} {
		if fd, err := OpenInRoot(p.fd, path, unix.O_RDONLY); err != unix.ENOENT {
			t.Errorf("%s: descriptor %d, %v", path, fd, err)
		}
	}
	if _, err := OpenInRootNoLinks(p.fd, "slash/file", unix.O_RDONLY); err != unix.ELOOP {
		t.Errorf("a link was followed: %v", err)
	}
	if _, err := OpenBeneath(p.fd, "abs", unix.O_PATH); err != unix.EXDEV {
		t.Errorf("a link led out: %v", err)
	}
	fd, err := OpenInRoot(p.fd, "slash/file", unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor is inherited")
	}
	unix.Close(fd)
}

// Links of procfs lead to wherever a descriptor of ours is open.
func TestMagicLinks(t *testing.T) {
	slash, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(slash)
	p := newPlace(t)
	path := "/proc/self/fd/" + strconv.Itoa(p.fd)
	for _, path := range []string{path, path + "/x", "/proc/self/root/etc", "/proc/self/cwd", "/proc/thread-self/exe"} {
		if fd, err := OpenInRoot(slash, path, unix.O_PATH); err != unix.ELOOP {
			t.Errorf("%s: descriptor %d, %v", path, fd, err)
		}
	}
	if _, err := MkdirAllInRoot(slash, path+"/made", 0o755); err == nil {
		t.Error("a directory was made through a magic link")
	}
}

// exchange swaps a directory and a link to the canary until stopped.
func (p *place) exchange(t *testing.T, a, b string) (stop func()) {
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			_ = unix.Renameat2(p.fd, a, p.fd, b, unix.RENAME_EXCHANGE)
		}
	}()
	return func() { done.Store(true); <-ended }
}

// Somebody exchanges a directory for a link while we work below it (V5).
func TestRace(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(filepath.Join(p.root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.link(t, "b", p.canary)
	p.link(t, "c", "../canary")
	stop := p.exchange(t, "a", "b")
	stop2 := p.exchange(t, "a", "c")
	for i, end := 0, time.Now().Add(2*time.Second); i < 4000 && time.Now().Before(end); i++ {
		n := strconv.Itoa(i)
		if fd, err := MkdirAllInRoot(p.fd, "a/dir"+n+"/sub", 0o755); err == nil {
			if at := p.where(t, fd); strings.HasPrefix(at, "OUT") {
				t.Errorf("got %s", at)
			}
			unix.Close(fd)
		}
		if fd, err := MkfileInRoot(p.fd, "a/file"+n, 0o644); err == nil {
			unix.Close(fd)
		}
		if dir, name, err := ParentInRoot(p.fd, "a/parent"+n+"/x", 0o755); err == nil {
			_ = unix.Symlinkat("x", dir, name)
			unix.Close(dir)
		}
		if t.Failed() {
			break
		}
	}
	stop()
	stop2()
	p.untouched(t)
}

// Whatever links a root has, nothing is made outside of it.
func FuzzMkdirAllInRoot(f *testing.F) {
	f.Add("a\x00../canary\nb\x00/a/x", "b/c")
	f.Add("x/y\x00../../../canary\nz\x00x/y/..", "z/q/w")
	f.Fuzz(func(t *testing.T, links, path string) {
		if strings.Count(links, "\n") > 8 || len(path) > 200 {
			return
		}
		p := newPlace(t)
		for line := range strings.SplitSeq(links, "\n") {
			name, target, ok := strings.Cut(line, "\x00")
			if !ok || target == "" || strings.Contains(name, "..") || strings.ContainsRune(target, 0) {
				continue
			}
			at := filepath.Join(p.root, filepath.Clean("/"+name))
			_ = os.Symlink(strings.ReplaceAll(target, "CANARY", p.canary), at)
		}
		if fd, err := MkdirAllInRoot(p.fd, path, 0o755); err == nil {
			if at := p.where(t, fd); strings.HasPrefix(at, "OUT") {
				t.Errorf("%q with %q is %s", path, links, at)
			}
			unix.Close(fd)
		}
		if fd, err := MkfileInRoot(p.fd, path+"/f", 0o644); err == nil {
			unix.Close(fd)
		}
		p.untouched(t)
	})
}
