package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// joinBelow runs a shell that joins as exec --cgroup does and returns its
// /proc/self/cgroup.
func joinBelow(t *testing.T, c *Cgroup, below ...string) string {
	t.Helper()
	tasks, dir, err := c.JoinFDsBelow(below)
	if err != nil {
		t.Fatalf("%q: %v", below, err)
	}
	defer closeFiles(tasks, dir)
	cmd := exec.Command("/bin/bash", "-c", fmt.Sprintf("for i in $(seq 3 %d); do echo 0 >&$i || exit 99; done; cat /proc/$$/cgroup", len(tasks)+2))
	cmd.ExtraFiles = tasks
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", below, err, out)
	}
	return string(out)
}

func TestJoinBelow(t *testing.T) {
	l := machine(t)
	if l.Mode == V2 {
		t.Skip("needs the cgroup layout v1 or hybrid")
	}
	needs(t, l, "pids")
	needs(t, l, "cpu")
	c := create(t, l, Config{ID: "below", Path: name(t)})
	for dir := range map[string]bool{c.Paths()["pids"]: true, c.Paths()["cpu"]: true} {
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	in := func(text, ctrl string) bool {
		for line := range strings.SplitSeq(text, "\n") {
			if f := strings.SplitN(line, ":", 3); len(f) == 3 && strings.Contains(","+f[1]+",", ","+ctrl+",") {
				return strings.HasSuffix(f[2], "/sub")
			}
		}
		return false
	}
	text := joinBelow(t, c, "pids:sub")
	if !in(text, "pids") || in(text, "cpu") {
		t.Errorf("only pids was named:\n%s", text)
	}
	text = joinBelow(t, c, "pids,cpu:/sub/")
	if !in(text, "pids") || !in(text, "cpu") || in(text, "memory") {
		t.Errorf("pids and cpu were named:\n%s", text)
	}
	for _, bad := range [][]string{{"sub"}, {"pids:none"}, {"pids:../x"}, {"nosuch:sub"}, {":sub"}, {"pids:sub", "sub"}, {"pids:sub", "pids:sub"}, {"pids:a\nb"}} {
		tasks, dir, err := c.JoinFDsBelow(bad)
		closeFiles(tasks, dir)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
