package process_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/plan"
	"berth/runtime/process"
)

// Hooks of the container's namespaces run in the helper, before the ids change.
func TestHooksInside(t *testing.T) {
	needRoot(t)
	t.Setenv("LD_PRELOAD", "/nonexistent/evil.so")
	dir := t.TempDir()
	s := newSpec()
	s.Hostname = "inside"
	tr := trial{spec: s, script: "hostname"}
	tr.options.Namespaces = with(0, specs.UTSNamespace, specs.PIDNamespace)
	list := []specs.Hook{{
		Path: "/bin/sh", Env: []string{"A=b"},
		Args: []string{"sh", "-c", `cat > ` + dir + `/state; pwd; hostname; tr '\0' '\n' < /proc/self/environ; exec > ` + dir + `/out; pwd; hostname; tr '\0' '\n' < /proc/$PPID/environ >/dev/null; ls /proc/self/fd | tr '\n' ' '; echo $A`},
	}}
	tr.between = func(b *plan.Builder) {
		st := specs.State{Version: specs.Version, ID: "c1", Status: specs.StateCreated, Bundle: "/b", Pid: 99}
		if err := process.Hooks(b, "startContainer", list, st); err != nil {
			t.Fatal(err)
		}
	}
	tr.run(t).want(t, "inside")
	var st specs.State
	b, err := os.ReadFile(dir + "/state")
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil || st.Pid != 1 || st.ID != "c1" || st.Status != specs.StateCreated || st.Bundle != "/b" {
		t.Errorf("state %+v, %v, %s", st, err, b)
	}
	out, err := os.ReadFile(dir + "/out")
	if err != nil || string(out) != "/\ninside\n0 1 2 3 b\n" {
		t.Errorf("hook saw %q, %v", out, err)
	}

	list[0].Args = []string{"sh", "-c", "echo bad luck >&2; exit 5"}
	tr.run(t).refused(t, "run startContainer hooks: hook 0 (/bin/sh): exit status 5", "bad luck")
	one := 1
	list[0].Args, list[0].Timeout = []string{"sh", "-c", "sleep 60 & wait"}, &one
	tr.run(t).refused(t, "ran out of time")
	list[0].Path = "/no/such/hook"
	o := tr.run(t)
	o.refused(t, "/no/such/hook", "no such file")
	if strings.Contains(o.out, "inside") {
		t.Error("the program ran")
	}
}
