package main

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const (
	packageLines = 4000
	packageFiles = 30
	commentBytes = 60
)

var rowWord = regexp.MustCompile(`[Rr]ows?\s+(\d)`)

// checkPackages holds place, size and comment of each folder. Lines and files
// are counted without tests and without twins for other build tags.
func checkPackages(m *module, r *report) {
	names, files := m.packages()
	for _, name := range names {
		var lines, count int
		first := files[name][0]
		for _, f := range files[name] {
			if f.built && !f.generated {
				lines += f.lines
				count++
			}
		}
		at := finding{file: first.name, line: m.line(first.ast.Package), rule: "package"}
		if !first.allowed("package", at.line, at.line-1) {
			if lines > packageLines {
				at.reason = fmt.Sprintf("package %s has %d lines, more than %d", name, lines, packageLines)
				r.add(at)
			}
			if count > packageFiles {
				at.reason = fmt.Sprintf("package %s has %d files, more than %d", name, count, packageFiles)
				r.add(at)
			}
		}
		p := placeOf(name)
		if !p.known {
			at.rule, at.reason = "place", fmt.Sprintf("folder %s is no room of the house (tools/house/rows.go)", name)
			r.add(at)
			continue
		}
		checkComment(m, p, files[name], r)
	}
}

// checkComment wants one package comment that is a few sentences and names the
// right row; what it is not, no program can check.
func checkComment(m *module, p place, files []*file, r *report) {
	var doc string
	at := finding{file: files[0].name, line: m.line(files[0].ast.Package), rule: "comment"}
	onlyTests := true
	for _, f := range files {
		onlyTests = onlyTests && f.test
		// The longest one: a directive alone is a comment without text.
		if text := f.ast.Doc.Text(); len(text) > len(doc) && !isForeignTest(f) {
			doc = text
			at.file, at.line = f.name, m.line(f.ast.Package)
		}
	}
	if onlyTests && doc == "" {
		doc = anyDoc(files)
	}
	switch {
	case doc == "":
		at.reason = "package " + p.pkg + " has no package comment: what it is, what it is not, which row"
	case len(doc) < commentBytes:
		at.reason = "the package comment is too short to say what it is, what it is not and which row"
	case p.row == outside:
		return
	default:
		match := rowWord.FindStringSubmatch(doc)
		if match == nil {
			at.reason = fmt.Sprintf("the package comment does not name the row (row %d)", p.row)
		} else if match[1] != strconv.Itoa(p.row) {
			at.reason = fmt.Sprintf("the package comment says row %s, but %s is row %d", match[1], p.pkg, p.row)
		} else {
			return
		}
	}
	r.add(at)
}

// isForeignTest reports whether f is of package x_test beside package x.
func isForeignTest(f *file) bool {
	return f.test && strings.HasSuffix(f.ast.Name.Name, "_test")
}

func anyDoc(files []*file) string {
	for _, f := range files {
		if text := f.ast.Doc.Text(); text != "" {
			return text
		}
	}
	return ""
}

// drawers are names that say nothing: whatever is put in them stays there.
var drawers = map[string]bool{
	"util": true, "utils": true, "common": true, "helpers": true, "misc": true,
	"types": true, "manager": true, "managers": true,
}

// checkNames looks at the folder (once, at its first file), the file and the
// types for drawer names, and at functions named init.
func checkNames(m *module, f *file, r *report) {
	say := func(line int, rule, reason string) {
		if !f.allowed(rule, line, line-1) {
			r.add(finding{f.name, line, rule, reason})
		}
	}
	for part := range strings.SplitSeq(path.Dir(f.name), "/") {
		if drawers[part] {
			say(m.line(f.ast.Package), "name", "folder "+part+": a room is named after the noun that users say")
		}
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.name), ".go"), "_test")
	for part := range strings.SplitSeq(stem, "_") {
		if drawers[part] {
			say(m.line(f.ast.Package), "name", "file "+path.Base(f.name)+": a file is named after a verb or a noun")
		}
	}
	inProgram := !f.test && !f.generated && placeOf(f.pkg).row != outside
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" && inProgram {
				say(m.line(d.Pos()), "init", "func init: parts are built by plain calls in cmd, and every program pays for it at start")
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if t, ok := s.(*ast.TypeSpec); ok && isDrawerType(t.Name.Name) {
					say(m.line(t.Pos()), "name", "type "+t.Name.Name+": say what it does, not that it manages or helps")
				}
			}
		}
	}
}

func isDrawerType(name string) bool {
	for _, end := range []string{"Manager", "Utils", "Util", "Helpers", "Common", "Misc"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
