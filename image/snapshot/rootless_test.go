package snapshot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/base/fault"

	"golang.org/x/sys/unix"
)

// inside are the tests that run in a user namespace as well.
const inside = "^(TestContract|TestKilledRemove|TestSubordinate|TestTreeLinks|TestOldKernel|TestNotInHost)$"

// TestOneID is an ordinary user whose namespace has the user's own id alone.
func TestOneID(t *testing.T) {
	if os.Getenv("SNAPSHOT_TEST_STAGE") != "" { // as the user
		cmd := exec.Command("/proc/self/exe", "-test.run="+inside, "-test.v")
		cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_NS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: userID, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: userID, Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		fmt.Printf("%s", out)
		return
	}
	dir := userDir(t)
	cmd := asUser(t, dir, "-test.run=^TestOneID$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "SNAPSHOT_TEST_STAGE=1")
	passed(t, cmd, "TestContract/Whiteouts", "TestContract/ManyLayers", "TestKilledRemove", "TestOldKernel", "TestNotInHost")
}

// TestRanges is a user with subordinate ids, as newuidmap(1) would map them.
func TestRanges(t *testing.T) {
	dir := userDir(t)
	cmd := asUser(t, dir, "-test.run="+inside, "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "SNAPSHOT_TEST_NS=2")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: userID, Size: 1}, {ContainerID: 1, HostID: 1700000000, Size: 65535}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{}, GidMappingsEnableSetgroups: true,
	}
	passed(t, cmd, "TestContract/Whiteouts", "TestContract/ManyLayers", "TestKilledRemove", "TestSubordinate")
	kept := filepath.Join(dir, "kept")
	var st unix.Stat_t
	must(t, unix.Lstat(kept, &st))
	if st.Uid != userID {
		t.Fatalf("the store is of %d", st.Uid)
	}
	// Outside of the namespace the user cannot remove what a subordinate id has.
	cmd = asUser(t, dir, "-test.run=^TestOutside$", "-test.v")
	cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_KEPT="+kept)
	passed(t, cmd, "TestOutside")
}

// TestSubordinate removes files of subordinate ids, in the namespace, and keeps
// one layer of them for TestOutside.
func TestSubordinate(t *testing.T) {
	if os.Getenv("SNAPSHOT_TEST_NS") != "2" {
		return
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(os.Getenv("TMPDIR"), "kept")} {
		o := open(t, dir, LaterSync())
		layer(t, o, "one", "")
		rec, err := o.load("one")
		must(t, err)
		sub := o.upper(rec.ID) + "/home"
		must(t, os.MkdirAll(sub+"/x", 0o700))
		must(t, os.WriteFile(sub+"/x/file", nil, 0o600))
		for _, p := range []string{sub + "/x/file", sub + "/x", sub} {
			must(t, os.Lchown(p, 1000, 1000))
		}
		if filepath.Base(dir) == "kept" {
			continue
		}
		must(t, o.Remove(t.Context(), "one"))
		check(t, o, true)
	}
}

func TestOutside(t *testing.T) {
	dir := os.Getenv("SNAPSHOT_TEST_KEPT")
	if dir == "" {
		return
	}
	o := open(t, dir)
	if got := names(t, o); len(got) != 1 {
		t.Fatalf("there are %q", got)
	}
	err := o.Remove(t.Context(), "one")
	if !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "home") {
		t.Fatalf("remove: %v", err)
	}
}

// userDir is a folder of the ordinary user, below no folder of root's alone.
func userDir(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: becomes another user")
	}
	dir, err := os.MkdirTemp("", "berth-user-")
	must(t, err)
	t.Cleanup(func() {
		if err := removeTree(filepath.Dir(dir), filepath.Base(dir)); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chown(dir, userID, userID))
	return dir
}

// passed runs tests in a child and holds that these ran and passed there.
func passed(t *testing.T, cmd *exec.Cmd, tests ...string) {
	t.Helper()
	data, err := cmd.CombinedOutput()
	out := string(data)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range tests {
		if !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass: %s", name, out)
		}
	}
}
