package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"sort"
)

const (
	fileSoft, fileHard = 400, 600
	funcSoft, funcHard = 60, 80

	typeMethods      = 25
	interfaceMethods = 7
	structFields     = 20
	funcParams       = 5
)

// checkSizes holds the lengths of one file and of what is declared in it. A
// table-like function or file says why it is longer with an allowance.
func checkSizes(m *module, f *file, r *report) {
	top := m.line(f.ast.Package)
	switch {
	case f.lines > fileHard:
		if !f.allowed("file", top, top-1) {
			r.add(finding{f.name, top, "file", fmt.Sprintf("%d lines, never above %d", f.lines, fileHard)})
		}
	case f.lines > fileSoft:
		r.soft["file"]++
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			checkFunc(m, f, d, r)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if t, ok := s.(*ast.TypeSpec); ok {
					checkType(m, f, d, t, r)
				}
			}
		}
	}
}

func checkFunc(m *module, f *file, d *ast.FuncDecl, r *report) {
	line := m.line(d.Pos())
	// The allowance may stand anywhere in the doc comment, which gofmt moves to
	// its end.
	lines := []int{line, line - 1}
	length := m.line(d.End()) - line + 1
	switch {
	case length > funcHard:
		if !f.allowed("func", lines...) {
			r.add(finding{f.name, line, "func", fmt.Sprintf("%s has %d lines, never above %d", d.Name.Name, length, funcHard)})
		}
	case length > funcSoft:
		r.soft["func"]++
	}
	if n := params(d.Type); n > funcParams && !f.allowed("params", lines...) {
		r.add(finding{f.name, line, "params", fmt.Sprintf("%s has %d parameters after the context, more than %d", d.Name.Name, n, funcParams)})
	}
}

// params counts parameters without a leading context.Context and, in tests,
// without the testing value.
func params(t *ast.FuncType) int {
	n := 0
	for i, p := range t.Params.List {
		if i == 0 && isContext(p.Type) {
			continue
		}
		n += max(1, len(p.Names))
	}
	return n
}

func isContext(e ast.Expr) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && (x.Name == "context" && s.Sel.Name == "Context" || x.Name == "testing")
}

func checkType(m *module, f *file, d *ast.GenDecl, t *ast.TypeSpec, r *report) {
	line := m.line(t.Pos())
	lines := []int{line, line - 1, m.line(d.Pos()) - 1}
	switch body := t.Type.(type) {
	case *ast.InterfaceType:
		if n := count(body.Methods); n > interfaceMethods && !f.allowed("interface", lines...) {
			r.add(finding{f.name, line, "interface", fmt.Sprintf("%s has %d methods, more than %d", t.Name.Name, n, interfaceMethods)})
		}
	case *ast.StructType:
		if n := count(body.Fields); n > structFields && !isWire(body) && !f.allowed("struct", lines...) {
			r.add(finding{f.name, line, "struct", fmt.Sprintf("%s has %d fields, more than %d", t.Name.Name, n, structFields)})
		}
	}
}

// count counts names; an embedded field or interface counts as one.
func count(list *ast.FieldList) int {
	n := 0
	for _, f := range list.List {
		n += max(1, len(f.Names))
	}
	return n
}

// isWire reports whether every field has a tag: a form given from outside.
func isWire(s *ast.StructType) bool {
	for _, f := range s.Fields.List {
		if f.Tag == nil && len(f.Names) > 0 {
			return false
		}
	}
	return true
}

// checkMethods counts methods per type over all files of a package.
func checkMethods(m *module, r *report) {
	type key struct{ pkg, name string }
	type last struct {
		n    int
		file *file
		line int
	}
	methods := map[key]*last{}
	for _, f := range m.files {
		if !f.built || f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || len(fn.Recv.List) == 0 {
				continue
			}
			k := key{f.pkg, receiver(fn.Recv.List[0].Type)}
			if methods[k] == nil {
				methods[k] = &last{}
			}
			l := methods[k]
			l.n, l.file, l.line = l.n+1, f, m.line(fn.Pos())
		}
	}
	var over []finding
	for k, l := range methods {
		if l.n > typeMethods && !l.file.allowed("methods", l.line, l.line-1) {
			over = append(over, finding{l.file.name, l.line, "methods", fmt.Sprintf("type %s has %d methods, more than %d", k.name, l.n, typeMethods)})
		}
	}
	sort.Slice(over, func(i, j int) bool { return over[i].String() < over[j].String() })
	r.add(over...)
}

// receiver returns the type name of a receiver: T of T, *T and *T[P].
func receiver(e ast.Expr) string {
	for {
		switch t := e.(type) {
		case *ast.StarExpr:
			e = t.X
		case *ast.IndexExpr:
			e = t.X
		case *ast.IndexListExpr:
			e = t.X
		case *ast.ParenExpr:
			e = t.X
		case *ast.Ident:
			return t.Name
		default:
			return fmt.Sprint(token.ILLEGAL)
		}
	}
}
