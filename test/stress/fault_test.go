package stress

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"
	"berth/test/sample"
)

// fault is a system call that fails at its n-th time in a thread, as on a full
// disk, or without memory, or with too many files.
type fault struct {
	call   string
	errors []string
}

// faults are the calls by which a container comes to be. Not among them are
// those by which the Go runtime lives: it ends the program when they fail.
var faults = []fault{
	{"openat", []string{"EMFILE", "EIO"}}, {"openat2", []string{"ENOMEM", "EMFILE"}}, {"write", []string{"ENOSPC", "EIO"}},
	{"read", []string{"EIO"}}, {"mkdirat", []string{"ENOSPC", "EIO"}}, {"mknodat", []string{"ENOSPC"}}, {"symlinkat", []string{"ENOSPC"}},
	{"renameat", []string{"ENOSPC", "EIO"}}, {"fstat", []string{"EIO"}}, {"fstatfs", []string{"EIO"}}, {"newfstatat", []string{"EIO"}},
	{"socketpair", []string{"EMFILE"}}, {"pidfd_open", []string{"EMFILE"}}, {"clone3", []string{"EAGAIN", "ENOSPC"}},
	{"sendmsg", []string{"ENOBUFS"}}, {"recvmsg", []string{"ENOMEM"}}, {"fsopen", []string{"EMFILE"}}, {"fsconfig", []string{"ENOMEM"}},
	{"fsmount", []string{"ENOMEM"}}, {"open_tree", []string{"ENOMEM", "EMFILE"}}, {"move_mount", []string{"ENOSPC", "ENOMEM"}},
	{"mount_setattr", []string{"ENOMEM"}}, {"pivot_root", []string{"ENOMEM"}}, {"umount2", []string{"EBUSY"}}, {"unshare", []string{"ENOSPC"}},
	{"sethostname", []string{"EPERM"}}, {"setresuid", []string{"EAGAIN"}}, {"setgroups", []string{"ENOMEM"}}, {"prctl", []string{"EINVAL"}},
	{"keyctl", []string{"EDQUOT"}}, {"prlimit64", []string{"EPERM"}}, {"execveat", []string{"ENOMEM"}}, {"execve", []string{"ENOMEM"}},
	{"flock", []string{"ENOLCK"}}, {"ppoll", []string{"ENOMEM"}}, {"seccomp", []string{"ENOMEM"}}, {"fchmodat", []string{"EIO"}},
}

// maxFaults is more often than any thread makes any of the calls.
const maxFaults = 400

// with returns the command with the fault in it, and the file that tells
// whether the call came.
func (f fault) with(t *testing.T, cmd *exec.Cmd, n int, errno string) (*exec.Cmd, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	args := []string{"-f", "-qq", "-o", log, "-e", "trace=" + f.call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", f.call, errno, n)}
	traced := exec.Command("strace", append(args, cmd.Args...)...)
	traced.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return traced, log
}

func came(log string) bool {
	data, _ := os.ReadFile(log)
	return strings.Contains(string(data), "(INJECTED)")
}

// ofGo tells the ends that the Go runtime makes when its own calls fail.
func ofGo(res bundle.Result) bool {
	return strings.Contains(res.Stderr, "fatal error: ") || strings.Contains(res.Stderr, "runtime: ")
}

// faultWalk calls try with each call, number and error, or a sample of them.
// try reports whether the call came at all.
func faultWalk(t *testing.T, try func(t *testing.T, f fault, n int, errno string) bool) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("strace is missing: %v (Debian's package strace)", err)
	}
	rng := sample.Random(t, 1)
	for _, f := range faults {
		t.Run(f.call, func(t *testing.T) {
			last := false
			for n := 1; n < maxFaults && !last && !t.Failed(); n++ {
				if !sample.Whole() && n > 2 {
					n += rng.IntN(30)
				}
				for _, errno := range f.errors {
					last = !try(t, f, n, errno) || last
				}
			}
		})
	}
}

// traces are what a container with the bundle has left on the host.
func traces(rt *bundle.Runtime, b *bundle.Bundle, id string) []string {
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + b.Spec.Linux.CgroupsPath)
	if _, err := os.Lstat(filepath.Join(rt.Root, id)); err == nil {
		found = append(found, id)
	}
	return found
}

// TestFaultsOfRun lets each call of a run fail: there is an error of one line,
// and nothing left, or it does not matter.
func TestFaultsOfRun(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t, bundle.Args("/bin/true"), bundle.Seccomp())
	leak.Check(t, rt.Root)
	faultWalk(t, func(t *testing.T, f fault, n int, errno string) bool {
		id := rt.NewID()
		cmd, log := f.with(t, rt.Command("run", "--bundle", b.Dir, id), n, errno)
		res := rt.Finish(cmd)
		where := fmt.Sprintf("%s %d fails with %s: ", f.call, n, errno)
		left := traces(rt, b, id)
		if ofGo(res) {
			rt.Do("delete", "--force", id)
			return came(log)
		}
		text := strings.TrimRight(res.Stderr, "\n")
		switch {
		case res.Code == -1:
			t.Errorf("%shangs: %s", where, res)
		case res.Code != 0 && (text == "" && f.call != "write" || strings.Count(text, "\n") > 0):
			t.Errorf("%swant one line: %s", where, res)
		case len(left) > 0 && !strings.Contains(text, "remove the ") && !strings.Contains(text, "lock container"):
			t.Errorf("%sleft %q: %s", where, left, res)
		}
		if res := rt.Do("delete", "--force", id); res.Code != 0 {
			t.Errorf("%s%s", where, res)
		}
		if left := traces(rt, b, id); len(left) > 0 {
			t.Fatalf("%sdelete --force leaves %q", where, left)
		}
		return came(log)
	})
}

// TestFaultsOfExec lets each call of an exec fail, which the container must
// not feel.
func TestFaultsOfExec(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	id := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000"), bundle.Seccomp()))
	faultWalk(t, func(t *testing.T, f fault, n int, errno string) bool {
		cmd, log := f.with(t, rt.Command("exec", id, "/bin/true"), n, errno)
		res := rt.Finish(cmd)
		text := strings.TrimRight(res.Stderr, "\n")
		if res.Code == -1 || !ofGo(res) && res.Code != 0 && (text == "" && f.call != "write" || strings.Count(text, "\n") > 0) {
			t.Errorf("%s %d fails with %s: %s", f.call, n, errno, res)
		}
		return came(log)
	})
	if res := rt.Must("ps", "--format", "json", id); strings.Count(res.Stdout, ",") > 0 {
		t.Errorf("processes are left in the container: %s", res)
	}
	rt.Remove(id)
}

// TestFaultsOfDelete lets each call of a delete fail: the next one does it.
func TestFaultsOfDelete(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
	leak.Check(t, rt.Root)
	saved := faults
	defer func() { faults = saved }()
	faults = []fault{
		{"openat", []string{"EMFILE"}}, {"unlinkat", []string{"EIO"}}, {"getdents64", []string{"EIO"}}, {"read", []string{"EIO"}},
		{"write", []string{"EIO"}}, {"newfstatat", []string{"EIO"}}, {"flock", []string{"ENOLCK"}}, {"pidfd_open", []string{"EMFILE"}},
		{"pidfd_send_signal", []string{"EPERM"}}, {"unlink", []string{"EBUSY"}}, {"rmdir", []string{"EBUSY"}},
	}
	faultWalk(t, func(t *testing.T, f fault, n int, errno string) bool {
		id := rt.NewID()
		rt.Must("run", "--detach", "--bundle", b.Dir, id)
		cmd, log := f.with(t, rt.Command("delete", "--force", id), n, errno)
		res := rt.Finish(cmd)
		where := fmt.Sprintf("%s %d fails with %s: ", f.call, n, errno)
		if res.Code == -1 {
			t.Errorf("%s%s", where, res)
		}
		if left := traces(rt, b, id); res.Code == 0 && len(left) > 0 {
			t.Errorf("%ssuccess leaves %q", where, left)
		}
		if res := rt.Do("delete", "--force", id); res.Code != 0 {
			t.Errorf("%s%s", where, res)
		}
		if left := traces(rt, b, id); len(left) > 0 {
			t.Fatalf("%sthe next delete leaves %q", where, left)
		}
		return came(log)
	})
}
