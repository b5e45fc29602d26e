package runtime

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// configs are real config.json files: Docker's, and what `spec` writes.
func configs(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	all := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(p), ".json")] = b
	}
	return all
}

// draw makes the plan of a config.json, nothing of which comes to be.
func draw(raw []byte, socket string, rootless bool) (*launch, error) {
	spec, err := parseSpec(raw)
	if err != nil {
		return nil, err
	}
	rt := &Runtime{Root: "/nonexistent/state", Rootless: &rootless}
	rt.begin()
	req := &CreateRequest{ID: "x", Bundle: "/nonexistent/bundle", ConsoleSocket: socket}
	d, err := newDesign(rt, req, spec, req.Bundle)
	if err != nil {
		return nil, err
	}
	defer d.cgroup.Close()
	return d.launch(&attached{waits: true})
}

// TestPlans holds the order in which a container comes to be, from its first
// mount to its program. The rooms' own golden files have each step's details,
// some of which depend on the caller's rights.
func TestPlans(t *testing.T) {
	for name, raw := range configs(t) {
		t.Run(name, func(t *testing.T) {
			socket := ""
			if name == "spec" || name == "rootless" { // they have a terminal
				socket = "/nonexistent/console"
			}
			if name != "rootless" && os.Getuid() != 0 {
				// An ordinary user's runtime refuses it before it plans anything.
				_, err := draw(raw, socket, true)
				if err == nil || !strings.HasPrefix(err.Error(), "linux.namespaces: ") {
					t.Errorf("error %v", err)
				}
				return
			}
			l, err := draw(raw, socket, name == "rootless")
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, s := range l.plan.Steps() {
				if !elsewhere(s.Name()) {
					got.WriteString(s.Name() + "\n")
				}
			}
			path := filepath.Join("testdata", name+".plan")
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Error(d)
			}
			if user := l.ns.create&unix.CLONE_NEWUSER != 0; user != (name == "rootless") || user != (l.maps != nil) || user != l.ns.becomeRoot {
				t.Errorf("user namespace %v, maps %v", user, l.maps)
			}
			back, err := initproc.Decode(l.plan.Encode())
			if err != nil || len(back.Steps) != len(l.plan.Steps()) {
				t.Errorf("the helper reads another plan: %v", err)
			}
		})
	}
}

// elsewhere are steps that depend on the machine's cgroups and on the caller's
// right to make devices: package rootfs has their golden plans.
func elsewhere(step string) bool {
	return strings.Contains(step, `"/sys/fs/cgroup`) || strings.HasPrefix(step, "make device ") || strings.HasPrefix(step, "make links ")
}

// planTime is how long reading and planning a configuration may take: far more
// than any needs, so that only endless work exceeds it.
const planTime = 5 * time.Second

// FuzzConfig: any config.json at all leads to a plan that the helper can read,
// or to an error of one line, soon.
func FuzzConfig(f *testing.F) {
	for _, raw := range configs(f) {
		f.Add(raw, true)
		f.Add(raw, false)
	}
	for _, s := range []string{
		``, `{}`, `[]`, `null`, `{"ociVersion":"1.0.2"}`, `{"ociVersion":"1.0","root":{"path":"r"},"process":{"cwd":"/","args":["x"]}}`,
		`{"ociVersion":"1.0","root":{"path":"\n"},"process":{"cwd":"/\n","args":["\n"],"env":["=\n"],"user":{"uid":4294967295}},
		  "mounts":[{"destination":"/\n","type":"\n","options":["\n"]},null],"hooks":{"prestart":[{"path":"\n"}]},
		  "linux":{"namespaces":[{"type":"mount"},{"type":"user","path":"\n"}],"cgroupsPath":"/\n","sysctl":{"\n":"\n"},
		  "devices":[{"path":"/dev/\n","type":"\n"}],"resources":{"unified":{"\n":"\n"},"rdma":{"\n":{}}},"maskedPaths":["\n"]}}`,
		`{"ociVersion":"1.0","root":{"path":"r"},"process":{"cwd":"/","args":["x"],"rlimits":[{"type":"RLIMIT_CORE"}],"scheduler":{"policy":"SCHED_FIFO"}},
		  "linux":{"namespaces":[{"type":"mount"},{"type":"user"},{"type":"time"}],"uidMappings":[{"size":4294967295}],"gidMappings":[{"size":1}],
		  "timeOffsets":{"monotonic":{"secs":-9223372036854775808,"nanosecs":4294967295}},"intelRdt":{"closID":"x","schemata":["\n"]},
		  "netDevices":{"lo":{"name":"\n"}},"personality":{"domain":"LINUX32"},"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0-\n"}}}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, rootless bool) { try(t, raw, rootless) })
}

// try makes a plan of whatever it is.
func try(t *testing.T, raw []byte, rootless bool) {
	begin := time.Now()
	l, err := draw(raw, "", rootless)
	if took := time.Since(begin); took > planTime {
		t.Errorf("%s for %d bytes", took, len(raw))
	}
	if err != nil {
		if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\r") {
			t.Errorf("error of %d bytes: %.1000q", len(text), text)
		}
		return
	}
	if _, err := initproc.Decode(l.plan.Encode()); err != nil {
		t.Errorf("the helper cannot read the plan: %v", err)
	}
}

// TestMangledConfigs puts odd values into real configurations, which fuzzing
// bytes seldom does.
func TestMangledConfigs(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 2))
	all := configs(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for range 500 {
			var doc any
			dec := json.NewDecoder(bytes.NewReader(all[name]))
			dec.UseNumber()
			if err := dec.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			for range 1 + rng.IntN(3) {
				doc = mangle(rng, doc, 0)
			}
			raw, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			try(t, raw, name == "rootless" || rng.IntN(2) == 0)
			if t.Failed() {
				t.Fatalf("%s became %.4000s", name, raw)
			}
		}
	}
}

// odd is a value that some field or other must stumble over, made anew.
func odd(rng *rand.Rand) any {
	all := []any{
		nil, true, "", "\n", "a\x00b", "\xff", "../..", "/", "/proc/self/exe", strings.Repeat("x", 70_000), strings.Repeat("a/", 3000), "user", "time",
		json.Number("-1"), json.Number("0"), json.Number("4294967295"), json.Number("9223372036854775807"), json.Number("18446744073709551615"), json.Number("1e99"),
		[]any{}, []any{nil}, []any{""}, map[string]any{}, map[string]any{"": nil}, map[string]any{"\n": "\n"},
	}
	return all[rng.IntN(len(all))]
}

// mangle walks down a random way and puts an odd value at its end, or doubles
// a list's element, or takes one away.
func mangle(rng *rand.Rand, doc any, depth int) any {
	if depth > 1 && rng.IntN(4) == 0 {
		return odd(rng)
	}
	switch v := doc.(type) {
	case map[string]any:
		if len(v) > 0 {
			key := slices.Sorted(maps.Keys(v))[rng.IntN(len(v))]
			v[key] = mangle(rng, v[key], depth+1)
			return v
		}
	case []any:
		if len(v) > 0 {
			i := rng.IntN(len(v))
			switch rng.IntN(8) {
			case 0:
				return append(v, v[i])
			case 1:
				return slices.Delete(v, i, i+1)
			}
			v[i] = mangle(rng, v[i], depth+1)
			return v
		}
	}
	return odd(rng)
}
