package bundle_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/bundle/report"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: starts containers with real ids")
	}
}

// TestProbeDirect runs the probe outside any container: what it says must be
// what this process arranged.
func TestProbeDirect(t *testing.T) {
	path, err := bundle.Probe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "ulimit -Sn 321; umask 027; cd /; exec "+path+" report 7</dev/null")
	cmd.Env = []string{"A=b"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) != 0 {
		t.Errorf("errors: %v", r.Errors)
	}
	if got := r.Limits["RLIMIT_NOFILE"].Soft; got != 321 {
		t.Errorf("soft limit of open files %d, want 321", got)
	}
	if r.Exec.Umask != "0027" || r.Exec.Cwd != "/" || !slices.Contains(r.Exec.Env, "A=b") {
		t.Errorf("umask, cwd, env: %+v", r.Exec)
	}
	if !slices.ContainsFunc(r.FDs, func(fd report.FD) bool { return fd.N == 7 && fd.Target == "/dev/null" }) {
		t.Errorf("open files %v, want 7 among them", r.FDs)
	}
	if slices.ContainsFunc(r.FDs, func(fd report.FD) bool { return strings.HasPrefix(fd.Target, "/sys") }) {
		t.Errorf("open files %v: some are Go's own", r.FDs)
	}
	link, _ := os.Readlink("/proc/self/ns/net")
	if r.Namespaces["net"] != link || len(r.Namespaces) != 8 {
		t.Errorf("namespaces %v", r.Namespaces)
	}
}

func TestProbeVerbs(t *testing.T) {
	path, err := bundle.Probe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "do", "try-open", "/no-such-place", "--", "echo", "a", "b", "--", "try-syscall", "39").Output()
	if err != nil {
		t.Fatal(err)
	}
	var a []bundle.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	if len(a) != 3 || a[0].Err != "ENOENT" || a[1].Out != "a b" || !strings.HasPrefix(a[2].Out, "ok ") {
		t.Errorf("answers %+v", a)
	}
}

func TestRunReport(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t, bundle.Env("X=1"), bundle.User(1000, 1000, 1001))
	res := rt.Run(b)
	r := res.Report(t)
	if r.Host.Hostname != "bundle" || r.IDs.PID != 1 || r.IDs.UID != [4]int{1000, 1000, 1000, 1000} {
		t.Errorf("host %+v, ids %+v", r.Host, r.IDs)
	}
	if len(r.Caps.Effective) != 0 || len(r.Caps.Bounding) != len(bundle.DockerCaps()) {
		t.Errorf("capabilities %+v", r.Caps)
	}
	own, _ := os.Readlink("/proc/self/ns/mnt")
	if r.Namespaces["mnt"] == own {
		t.Errorf("the container is in our mount namespace")
	}
}

func TestRunCodes(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	if res := rt.Run(bundle.New(t, bundle.Args("/probe", "exit", "42"))); res.Code != 42 {
		t.Errorf("want exit code 42: %s", res)
	}
	// Time limit: the command is given up, the container removed at the end.
	rt.Timeout = time.Second
	if res := rt.Run(bundle.New(t, bundle.Args("/probe", "sleep", "30"))); res.Code != -1 {
		t.Errorf("want -1 for the time limit: %s", res)
	}
	rt.Timeout = 20 * time.Second
}

func TestStartExecRemove(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "100")))
	res := rt.Must("exec", id, "/probe", "do", "echo", "hi", "--", "pids")
	if a := res.Answers(t); a[0].Out != "hi" {
		t.Errorf("answers %+v", a)
	}
	rt.Remove(id)
	if res := rt.Do("state", id); res.Code == 0 {
		t.Errorf("still there: %s", res)
	}
	if err := syscall.Access("/sys/fs/cgroup/pids/"+bundle.Prefix, 0); err == nil {
		t.Errorf("a cgroup is left")
	}
}
