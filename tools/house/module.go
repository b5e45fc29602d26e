package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// module is the parsed source of one Go module.
type module struct {
	root  string // folder of go.mod
	path  string // module path
	fset  *token.FileSet
	files []*file // sorted by name
	bad   []finding
}

// file is one parsed Go file. Names are relative to the module's root.
type file struct {
	name      string // runtime/cgroup/cgroup.go
	pkg       string // runtime/cgroup, the folder
	test      bool
	generated bool
	built     bool // by make: not a test, no build tag that make does not set
	lines     int
	ast       *ast.File
	allows    []*allow
}

// allow is one //house:allow comment.
type allow struct {
	line int
	rule string
	used bool
}

var (
	allowText   = regexp.MustCompile(`^//house:allow\s+(\S+)\s*(.*)$`)
	modulePath  = regexp.MustCompile(`(?m)^module\s+(\S+)`)
	minimalNote = 10 // bytes that the reason of an allowance must have
)

// asMake selects files as a build by make does: a file and its twin for another
// build tag or architecture count once.
var asMake = build.Context{GOOS: "linux", GOARCH: "amd64", Compiler: "gc", ReleaseTags: build.Default.ReleaseTags}

// load parses every Go file below root, except testdata, hidden
// folders and other modules.
// A file that does not parse becomes a finding, not an error.
func load(root string) (*module, error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	match := modulePath.FindSubmatch(mod)
	if match == nil {
		return nil, fmt.Errorf("%s/go.mod names no module", root)
	}
	m := &module{root: root, path: string(match[1]), fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); p != root && err == nil {
				return filepath.SkipDir // another module
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") && !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, ".") {
			return m.parse(p)
		}
		return nil
	})
	sort.Slice(m.files, func(i, j int) bool { return m.files[i].name < m.files[j].name })
	return m, err
}

func (m *module) parse(p string) error {
	src, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(m.root, p)
	if err != nil {
		return err
	}
	f := &file{name: filepath.ToSlash(rel), lines: bytes.Count(src, []byte("\n"))}
	f.pkg = path.Dir(f.name)
	f.test = strings.HasSuffix(f.name, "_test.go")
	f.ast, err = parser.ParseFile(m.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		m.bad = append(m.bad, finding{f.name, 1, "parse", err.Error()})
		return nil
	}
	f.generated = ast.IsGenerated(f.ast)
	if f.built, err = asMake.MatchFile(filepath.Split(p)); err != nil {
		return err
	}
	f.built = f.built && !f.test
	f.allows = m.allowances(f)
	m.files = append(m.files, f)
	return nil
}

// allowances collects the //house:allow comments of f.
func (m *module) allowances(f *file) []*allow {
	var out []*allow
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			line := m.line(c.Pos())
			match := allowText.FindStringSubmatch(c.Text)
			if match == nil {
				continue
			}
			if !isRule(match[1]) || len(match[2]) < minimalNote {
				m.bad = append(m.bad, finding{f.name, line, "allow", "write //house:allow RULE reason, with one of the rules and a reason that a stranger understands"})
				continue
			}
			out = append(out, &allow{line: line, rule: match[1]})
		}
	}
	return out
}

func (m *module) line(pos token.Pos) int { return m.fset.Position(pos).Line }

// allowed reports whether an allowance for rule stands on one of the lines, and
// notes that it is needed.
func (f *file) allowed(rule string, lines ...int) bool {
	for _, a := range f.allows {
		for _, l := range lines {
			if a.rule == rule && a.line == l {
				a.used = true
				return true
			}
		}
	}
	return false
}

// packages groups the files by folder, in order.
func (m *module) packages() (names []string, files map[string][]*file) {
	files = map[string][]*file{}
	for _, f := range m.files {
		if files[f.pkg] == nil {
			names = append(names, f.pkg)
		}
		files[f.pkg] = append(files[f.pkg], f)
	}
	sort.Strings(names)
	return names, files
}

// tableLines yields the lines of a small table file without comments and
// blank lines.
func tableLines(b []byte) []string {
	var out []string
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
