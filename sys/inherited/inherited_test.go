package inherited_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/sys/inherited"
)

func TestNOFILE(t *testing.T) {
	if os.Getenv("INHERITED_CHILD") != "" {
		var now unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		if inherited.NOFILE.Soft != 123 || inherited.NOFILE.Hard != 456 || now.Cur < 455 {
			t.Fatalf("inherited %+v, now %+v", inherited.NOFILE, now)
		}
		return
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123 && ulimit -Hn 456 && exec "$0" -test.run=TestNOFILE -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "INHERITED_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNOFILE") {
		t.Fatalf("%v\n%s", err, out)
	}
}
