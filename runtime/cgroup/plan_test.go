package cgroup

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// fixture makes a layout from testdata/layout; ctrls are the controllers of its
// unified hierarchy.
func fixture(t testing.TB, name string) *Layout {
	t.Helper()
	text, err := os.ReadFile("testdata/layout/" + name + ".mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.v2known = true
	if l.Mode == V2 {
		l.v2ctrls = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}
	}
	return l
}

// Each file of testdata/plan is a LinuxResources in JSON, "---", and the plan
// for each layout.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), "---\n")
			var cfg struct {
				Config
				Resources specs.LinuxResources
			}
			if err := json.Unmarshal([]byte(input), &cfg); err != nil {
				t.Fatal(err)
			}
			cfg.Config.Resources = &cfg.Resources
			var got strings.Builder
			for _, name := range []string{"v1", "hybrid", "v2"} {
				got.WriteString("== " + name + "\n")
				c, err := New(fixture(t, name), cfg.Config)
				if err != nil {
					got.WriteString("error: " + err.Error() + "\n")
					continue
				}
				got.WriteString(strings.Join(c.Plan(), "\n") + "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+"---\n"+got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got.String()); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
