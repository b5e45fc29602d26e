package content_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNewBoot runs the calling test again in a process for which the machine has
// just started: in a time namespace that takes the uptime back to two seconds
// (time_namespaces(7)).
func inNewBoot(t *testing.T, root, good, bad string) {
	t.Helper()
	if _, err := os.Stat("/proc/self/timens_offsets"); err != nil {
		t.Skip("needs a kernel with time namespaces")
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		t.Fatal(err)
	}
	// unshare(1) writes timens_offsets; the test asks for an uptime of nearly 0.
	cmd := exec.Command("unshare", "--time", "--fork", "--boottime", "-"+strconv.Itoa(int(up.Sec)-1), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "CONTENT_TEST_BOOTED=1", "CONTENT_TEST_ROOT="+root, "CONTENT_TEST_GOOD="+good, "CONTENT_TEST_BAD="+bad)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("in a new boot: %v\n%s", err, out)
	}
}
