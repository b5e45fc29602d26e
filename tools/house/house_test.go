package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

const moduleRoot = "../.."

// TestHouse runs the walls on berth itself.
func TestHouse(t *testing.T) {
	m, err := load(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	r := check(m)
	for _, f := range r.findings {
		t.Error(f)
	}
	t.Logf("%d files; soft limits: %d files over %d lines, %d functions over %d lines",
		len(m.files), r.soft["file"], fileSoft, r.soft["func"], funcSoft)
}

// TestLinked asks what each program of berth links.
func TestLinked(t *testing.T) {
	for _, f := range checkLinked(moduleRoot) {
		t.Error(f)
	}
}

// TestWalls: each testdata/*.txtar is a small module and, in the file "want",
// the findings that it must give, one "file:line: rule: start of the reason" a
// line; the case passes only with exactly these.
func TestWalls(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	broken := map[string]bool{}
	for _, c := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(c), ".txtar"), func(t *testing.T) {
			root, want := unpack(t, c)
			m, err := load(root)
			if err != nil {
				t.Fatal(err)
			}
			r := check(m)
			r.add(checkLinked(root)...)
			var got []string
			for _, f := range r.findings {
				got = append(got, f.String())
				broken[f.rule] = true
			}
			compare(t, got, want)
		})
	}
	for rule := range rules {
		if !broken[rule] {
			t.Errorf("no case in testdata breaks the rule %s", rule)
		}
	}
}

// unpack writes the files of a case and returns its folder and what it wants.
// In a file, a line "@repeat N text" stands for N lines of text.
func unpack(t *testing.T, name string) (root string, want []string) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = tableLines(f.Data)
			continue
		}
		p := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(repeat(t, string(f.Data))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, want
}

// compare pairs each finding with one wanted start of a line.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for _, g := range got {
		i := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(g, w) })
		if i < 0 {
			t.Errorf("unexpected: %s", g)
			continue
		}
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		t.Errorf("missing:    %s", w)
	}
}
