package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// disk mounts a file system with project quotas, made anew, with these options.
func disk(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	for _, c := range []string{
		"truncate -s 64M " + image, "/sbin/mke2fs -q -t ext4 -O quota,project -E quotatype=prjquota " + image,
		"mkdir " + at, "mount -o loop," + options + " " + image + " " + at,
	} {
		out, err := exec.Command("sh", "-c", c).CombinedOutput()
		if err != nil && strings.HasPrefix(c, "mount") && !debian() {
			t.Skip("this kernel has no format of quotas (the test guest's has)")
		}
		if err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// debian tells whether the kernel is one of Debian's, which have quotas.
func debian() bool {
	version, _ := os.ReadFile("/proc/version")
	return strings.Contains(string(version), "debian")
}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func limited(t *testing.T, dir string, bytes int64) *os.File {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir)
	if err := Limit(f, bytes); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNone(t *testing.T) {
	f := open(t, "/proc")
	if err := Check(f); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "/proc has no project quotas") {
		t.Error(err)
	}
	if err := Lift(f); err != nil {
		t.Error(err)
	}
	if left, err := Sweep(f, true); left != nil || err != nil {
		t.Error(left, err)
	}
}

func TestCountedOnly(t *testing.T) {
	at := open(t, disk(t, "noquota"))
	if err := Check(at); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "prjquota") {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	at := disk(t, "prjquota")
	one := limited(t, at+"/one", 1<<20)
	two := limited(t, at+"/two", 2<<20)
	if a, b := Project(one), Project(two); a == b || a < First || b < First {
		t.Errorf("projects %d and %d", a, b)
	}
	if err := os.Mkdir(at+"/one/sub", 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, size int) error { return os.WriteFile(at+"/"+name, make([]byte, size), 0o600) }
	// Root of the host is bound by no limit on ext4, who owns a file is.
	as(t, func() {
		if err := write("one/sub/much", 3<<20); !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("beyond the limit: %v", err)
		}
		if err := write("two/enough", 3<<19); err != nil {
			t.Errorf("below the other's: %v", err)
		}
	})
	if u, err := Of(one, Project(one)); err != nil || u.Limit != 1<<20 || u.Bytes > u.Limit || u.Inodes != 3 {
		t.Errorf("%+v %v", u, err)
	}
}

// as does something as one whom limits bind.
func as(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with it
		head, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
		err := unix.Capget(&head, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
			err = unix.Capset(&head, &data[0])
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLift(t *testing.T) {
	at := disk(t, "prjquota")
	one := limited(t, at+"/one", 1<<20)
	id := Project(one)
	if err := os.WriteFile(at+"/one/file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Lift(one); err != nil {
		t.Fatal(err)
	}
	if u, err := Of(one, id); err != nil || u.Limit != 0 || u.Inodes != 1 || Project(one) != 0 {
		t.Errorf("%+v %v, project %d", u, err, Project(one))
	}
	if two := limited(t, at+"/two", 1<<20); Project(two) == id {
		t.Error("a project is taken in which a file is")
	}
	if err := os.RemoveAll(at + "/one"); err != nil {
		t.Fatal(err)
	}
	if three := limited(t, at+"/three", 1<<20); Project(three) != id {
		t.Errorf("project %d is not taken again: %d", id, Project(three))
	}
}

// A folder that the administrator has put into a project gets back there what is
// lifted, or it could not be moved.
func TestLiftInProject(t *testing.T) {
	at := disk(t, "prjquota")
	if err := join(open(t, at), 7, true); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at+"/trash", 0o700); err != nil {
		t.Fatal(err)
	}
	one := limited(t, at+"/one", 1<<20)
	if err := os.Rename(at+"/one", at+"/trash/one"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("a folder of another project: %v", err)
	}
	if err := Lift(one); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at+"/one", at+"/trash/one"); err != nil || Project(one) != 7 {
		t.Errorf("%v, project %d", err, Project(one))
	}
}

// Nobody shares a project, however many come at once.
func TestAtOnce(t *testing.T) {
	at := disk(t, "prjquota")
	const many = 40
	var all [many]uint32
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { all[i] = Project(limited(t, filepath.Join(at, strconv.Itoa(i)), 1<<20)) })
	}
	wg.Wait()
	seen := map[uint32]bool{}
	for _, id := range all {
		if id < First || seen[id] {
			t.Errorf("project %d in %d", id, all)
		}
		seen[id] = true
	}
}

func TestSweep(t *testing.T) {
	at := disk(t, "prjquota")
	top := open(t, at)
	limited(t, at+"/kept", 1<<20)
	gone := limited(t, at+"/gone", 1<<20)
	id := Project(gone)
	gone.Close()
	if err := os.Remove(at + "/gone"); err != nil { // by one who does not lift it
		t.Fatal(err)
	}
	for _, clear := range []bool{false, true} {
		if left, err := Sweep(top, clear); err != nil || len(left) != 1 || left[0] != id {
			t.Errorf("%d %v", left, err)
		}
	}
	if left, err := Sweep(top, true); err != nil || len(left) != 0 {
		t.Errorf("%d %v", left, err)
	}
	if u, err := Of(top, id); err != nil || u != (Usage{}) {
		t.Errorf("%+v %v", u, err)
	}
}
