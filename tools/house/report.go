package main

import (
	"fmt"
	"sort"
	"strings"
)

// finding is one broken rule.
type finding struct {
	file   string
	line   int
	rule   string
	reason string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.file, f.line, f.rule, f.reason)
}

// report is the outcome of one check. Soft limits are counted, hard ones are
// findings.
type report struct {
	findings []finding
	soft     map[string]int
}

func (r *report) add(fs ...finding) { r.findings = append(r.findings, fs...) }

// rules are all names that a finding and an allowance may have, each with what
// it holds.
var rules = map[string]string{
	"allow":     "allowances are well-formed and needed",
	"base":      "base imports the standard library only",
	"call":      "calls that once led to an escape are barred in sys, runtime and the helper",
	"cgo":       "no program links a cgo package",
	"cloexec":   "descriptors are made close-on-exec in the same call",
	"comment":   "every package says what it is, what it is not and which row",
	"door":      "a room is entered through its door",
	"file":      "file length",
	"func":      "function length",
	"init":      "no init functions, no blank imports: parts are built by plain calls",
	"interface": "methods of an interface",
	"linked":    "what a program must not link",
	"log":       "base and sys do not log",
	"methods":   "methods on a type",
	"name":      "no drawer names",
	"package":   "package length and number of files",
	"params":    "parameters of a function",
	"parse":     "every file parses",
	"place":     "every Go package lies in a room",
	"ring":      "base and sys rooms import each other without a ring",
	"row":       "imports go downwards only, never sideways",
	"struct":    "fields of a struct",
}

func isRule(s string) bool { _, ok := rules[s]; return ok }

// check runs every rule that needs only the source.
func check(m *module) *report {
	r := &report{soft: map[string]int{}}
	r.add(m.bad...)
	checkImports(m, r)
	checkRings(m, r)
	checkPackages(m, r)
	for _, f := range m.files {
		checkNames(m, f, r)
		checkCalls(m, f, r)
		if !f.generated {
			checkSizes(m, f, r)
		}
	}
	checkMethods(m, r)
	for _, f := range m.files {
		for _, a := range f.allows {
			if !a.used {
				r.add(finding{f.name, a.line, "allow", "nothing here breaks the rule " + a.rule + ": remove the allowance"})
			}
		}
	}
	sort.SliceStable(r.findings, func(i, j int) bool {
		a, b := r.findings[i], r.findings[j]
		if a.file != b.file {
			return a.file < b.file
		}
		return a.line < b.line
	})
	return r
}

// softSummary is one line on the soft limits, or nothing.
func (r *report) softSummary() string {
	var parts []string
	for _, what := range []string{"file", "func"} {
		if n := r.soft[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d over the soft limit of a %s", n, what))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "house: " + strings.Join(parts, ", ") + "\n"
}
