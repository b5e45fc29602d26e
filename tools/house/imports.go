package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// checkImports holds rows, doors, the standard library in base, and plain
// wiring, for every import of every file.
func checkImports(m *module, r *report) {
	for _, f := range m.files {
		from := placeOf(f.pkg)
		for _, spec := range f.ast.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has complained already
			}
			line := m.line(spec.Pos())
			blank := spec.Name != nil && spec.Name.Name == "_"
			for _, bad := range importFindings(m, f, from, target, blank) {
				if f.allowed(bad.rule, line, line-1) {
					continue
				}
				bad.file, bad.line = f.name, line
				r.add(bad)
			}
		}
	}
}

func importFindings(m *module, f *file, from place, target string, blank bool) []finding {
	var out []finding
	if target == "C" {
		out = append(out, finding{rule: "cgo", reason: "import \"C\": berth is built with CGO_ENABLED=0"})
	}
	if blank && !f.test && from.row != outside && target != "embed" && target != "unsafe" {
		out = append(out, finding{rule: "init", reason: "blank import of " + target + ": parts are built by plain calls in cmd, not registered"})
	}
	if from.row == 0 || from.row == 1 {
		if (target == "log" || strings.HasPrefix(target, "log/")) && !f.test {
			out = append(out, finding{rule: "log", reason: from.street + " returns errors and does not log"})
		}
	}
	inside, ours := strings.CutPrefix(target, m.path+"/")
	if !ours {
		if from.street == "base" && !f.test && isThirdParty(target) {
			out = append(out, finding{rule: "base", reason: "base imports the standard library only, not " + target})
		}
		return out
	}
	if bad, ok := crossing(f, from, placeOf(inside)); ok {
		out = append(out, bad)
	}
	return out
}

// isThirdParty: only paths of other modules have a dot in their first element.
func isThirdParty(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return strings.Contains(first, ".")
}

// crossing judges one import inside the module.
func crossing(f *file, from, to place) (finding, bool) {
	row := func(format string, args ...any) (finding, bool) {
		return finding{rule: "row", reason: fmt.Sprintf(format, args...)}, true
	}
	switch {
	case from.room == to.room, !from.known, !to.known:
		return finding{}, false // one room, or checkPackages says it
	case to.row == outside:
		if from.row == outside || f.test {
			return finding{}, false
		}
		return row("%s imports %s, which is no part of the programs", from.pkg, to.pkg)
	case from.row == outside:
		return throughDoor(from, to)
	case to.row > from.row:
		return row("%s (row %d) imports %s (row %d): imports go downwards only", from.pkg, from.row, to.pkg, to.row)
	case to.row == from.row && !neighbours(from, to):
		return row("%s imports %s: both are row %d, and rooms of one row know nothing of each other", from.pkg, to.pkg, to.row)
	}
	return throughDoor(from, to)
}

// neighbours lists the sideways imports that the house has.
func neighbours(from, to place) bool {
	switch {
	case from.street == to.street && (from.street == "base" || from.street == "sys"):
		return true
	case from.street == "cli" && to.pkg == "cli/term":
		return true
	}
	return slices.ContainsFunc(secondDoors, func(d secondDoor) bool { return d.pkg == to.pkg && d.from(from) })
}

func throughDoor(from, to place) (finding, bool) {
	if to.isDoor() {
		return finding{}, false
	}
	for _, d := range secondDoors {
		// Tests and tools may use whatever somebody may.
		if d.pkg == to.pkg && (from.row == outside || d.from(from)) {
			return finding{}, false
		}
	}
	if from.row == outside && from.street == "test" {
		return finding{}, false // a test may look at the inside of a room
	}
	return finding{rule: "door", reason: fmt.Sprintf("%s imports %s: the door of that room is %s", from.pkg, to.pkg, to.room)}, true
}

// checkRings finds rooms of base and sys that import each other in a circle.
// The go command refuses rings of packages; a room may have several packages.
func checkRings(m *module, r *report) {
	edges := map[string]map[string]finding{}
	for _, f := range m.files {
		from := placeOf(f.pkg)
		if f.test || from.row != 0 && from.row != 1 {
			continue
		}
		for _, spec := range f.ast.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			inside, ours := strings.CutPrefix(target, m.path+"/")
			to := placeOf(inside)
			if !ours || to.street != from.street || to.room == from.room {
				continue
			}
			if edges[from.room] == nil {
				edges[from.room] = map[string]finding{}
			}
			edges[from.room][to.room] = finding{file: f.name, line: m.line(spec.Pos()), rule: "ring"}
		}
	}
	for a, targets := range edges {
		for b, at := range targets {
			if a < b && reaches(edges, b, a, map[string]bool{}) {
				at.reason = fmt.Sprintf("%s and %s import each other in a ring", a, b)
				r.add(at)
			}
		}
	}
}

func reaches(edges map[string]map[string]finding, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for next := range edges[from] {
		if !seen[next] && reaches(edges, next, to, seen) {
			return true
		}
	}
	return false
}
