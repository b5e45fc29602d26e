package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryTestIsInASuite: a test that no suite of tools/ci/suites.txt runs is
// a test that nobody runs.
func TestEveryTestIsInASuite(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot, "tools/ci/suites.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var whole, single []string // ./x/... and ./x
	for _, line := range tableLines(text) {
		for word := range strings.FieldsSeq(line) {
			if p, ok := strings.CutPrefix(word, "./"); ok {
				if dir, ok := strings.CutSuffix(p, "/..."); ok {
					whole = append(whole, dir)
				} else {
					single = append(single, p)
				}
			}
		}
	}
	m, err := load(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	covered := func(pkg string) bool {
		for _, dir := range whole {
			if below(pkg, dir) {
				return true
			}
		}
		for _, dir := range single {
			if pkg == dir {
				return true
			}
		}
		return false
	}
	said := map[string]bool{}
	for _, f := range m.files {
		if f.test && !covered(f.pkg) && !said[f.pkg] {
			said[f.pkg] = true
			t.Errorf("no suite of tools/ci/suites.txt runs the tests of %s", f.pkg)
		}
	}
}
