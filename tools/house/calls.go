package main

import (
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// barred lists calls that are forbidden in sys, runtime and the helper, with
// the incident that taught it. Tests may use them.
var barred = map[string]string{
	"os.Create":     "follows a symlink and truncates what it points to; runc made files on the host that way (CVE-2024-45310). Open through sys/safepath, or write with base/atomicfile",
	"os.WriteFile":  "follows a symlink: writes to /proc went elsewhere (CVE-2019-16884, CVE-2025-52881). Use an fd from sys/safepath, or base/atomicfile",
	"os.MkdirAll":   "walks a path that a container may swap: folders were made on the host (CVE-2024-45310). Use sys/safepath",
	"os.Chown":      "follows a symlink: give the owner through an fd (CVE-2026-47766, /dev)",
	"os.Chmod":      "follows a symlink: change the mode through an fd (CVE-2026-47766, /dev)",
	"os.Chdir":      "the working folder may be a host folder by the time it is used (CVE-2024-21626). Use fchdir on an fd that was checked",
	"os.RemoveAll":  "on a path that a container can write to, removes what it swapped in; in a folder of our own, say so",
	"syscall.Mount": "takes string paths: the target was swapped between check and mount (CVE-2021-30465). Use sys/mount on fds",
	"unix.Mount":    "takes string paths: the target was swapped between check and mount (CVE-2021-30465). Use sys/mount on fds",
	"unix.Chroot":   "is no border: use pivot_root",

	"filepath.EvalSymlinks": "says where a path led, not where it leads when it is used (CVE-2021-30465). Use sys/safepath",
	"securejoin.SecureJoin": "gives back a string, and the path behind it can change (CVE-2021-30465). Use sys/safepath",
	"exec.LookPath":         "a program found by PATH may be the container's (CVE-2022-1227). Give an absolute host path",
	"exec.Command":          "runs a host program: only those of docs/decisions/0004, by absolute path, with a clean environment (CVE-2026-41567)",
	"exec.CommandContext":   "runs a host program: only those of docs/decisions/0004, by absolute path, with a clean environment (CVE-2026-41567)",
}

// leaky lists calls that make a descriptor without close-on-exec, and what to
// call instead. Between two calls, another thread may fork (CVE-2024-21626).
var leaky = map[string]string{
	"Dup": "F_DUPFD_CLOEXEC", "Dup2": "Dup3 with O_CLOEXEC", "Pipe": "Pipe2 with O_CLOEXEC",
	"Accept": "Accept4 with SOCK_CLOEXEC", "EpollCreate": "EpollCreate1 with EPOLL_CLOEXEC",
	"Creat": "Openat2", "InotifyInit": "InotifyInit1 with IN_CLOEXEC",
}

// cloexecFlag lists calls with a flags argument, by position, and the flag that
// must stand in it.
var cloexecFlag = map[string]struct {
	arg  int
	flag string
}{
	"Open": {1, "O_CLOEXEC"}, "Openat": {2, "O_CLOEXEC"}, "Socket": {1, "SOCK_CLOEXEC"},
	"Socketpair": {1, "SOCK_CLOEXEC"}, "Pipe2": {1, "O_CLOEXEC"}, "Accept4": {1, "SOCK_CLOEXEC"},
	"MemfdCreate": {1, "MFD_CLOEXEC"}, "Fsopen": {1, "FSOPEN_CLOEXEC"}, "Fsmount": {1, "FSMOUNT_CLOEXEC"},
	"OpenTree": {2, "OPEN_TREE_CLOEXEC"}, "Eventfd": {1, "EFD_CLOEXEC"}, "EpollCreate1": {0, "EPOLL_CLOEXEC"},
}

// rootName matches names that stand for the path of a container's root.
var rootName = regexp.MustCompile(`(?i)^(rootfs(path|dir)?|newroot|containerroot)$`)

func checkCalls(m *module, f *file, r *report) {
	p := placeOf(f.pkg)
	generator := f.ast.Name.Name == "main" && p.street != "cmd" // run by hand, linked by nothing
	if f.test || generator {
		return
	}
	strict := p.street == "sys" || p.street == "runtime" || p.room == "cmd/berth-helper"
	names := importNames(f)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		pkg, name := callee(call, names)
		if pkg == "" {
			return true
		}
		line := m.line(call.Pos())
		say := func(rule, reason string) {
			if !f.allowed(rule, line, line-1) {
				r.add(finding{f.name, line, rule, reason})
			}
		}
		short := path.Base(pkg) + "." + name
		if pkg == "github.com/cyphar/filepath-securejoin" {
			short = "securejoin." + name
		}
		if reason := barred[short]; reason != "" && strict {
			say("call", short+" "+reason)
		}
		if short == "filepath.Join" && strict && mentionsRoot(call.Args) {
			say("call", "filepath.Join on a container's root: the joined path is resolved on the host (CVE-2021-30465). Use sys/safepath")
		}
		if pkg == "golang.org/x/sys/unix" || pkg == "syscall" {
			checkCloexec(call, name, say)
		}
		return true
	})
}

// importNames maps the name under which a file uses a package to its path.
func importNames(f *file) map[string]string {
	names := map[string]string{}
	for _, spec := range f.ast.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(target)
		if target == "github.com/cyphar/filepath-securejoin" {
			name = "securejoin"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = target
	}
	return names
}

// callee returns package path and function of a call pkg.Func(…).
func callee(call *ast.CallExpr, names map[string]string) (pkg, name string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return names[x.Name], sel.Sel.Name
}

func mentionsRoot(args []ast.Expr) bool {
	found := false
	for _, a := range args {
		ast.Inspect(a, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				found = found || rootName.MatchString(n.Name)
			case *ast.SelectorExpr:
				inner, ok := n.X.(*ast.SelectorExpr)
				found = found || ok && inner.Sel.Name == "Root" && n.Sel.Name == "Path"
			}
			return !found
		})
	}
	return found
}

func checkCloexec(call *ast.CallExpr, name string, say func(rule, reason string)) {
	if better := leaky[name]; better != "" {
		say("cloexec", name+" makes a descriptor that a child inherits (CVE-2024-21626): use "+better)
		return
	}
	want, ok := cloexecFlag[name]
	if !ok || want.arg >= len(call.Args) {
		return
	}
	if plain, has := flagsOf(call.Args[want.arg], want.flag); plain && !has {
		say("cloexec", name+" without "+want.flag+": a child inherits the descriptor (CVE-2024-21626)")
	}
}

// flagsOf looks at a flags expression: plain is false when a variable takes
// part, so that nothing can be said; has tells whether the flag stands in it.
func flagsOf(e ast.Expr, flag string) (plain, has bool) {
	plain = true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			has = has || n.Sel.Name == flag
			return false
		case *ast.Ident:
			if n.Name != strings.ToUpper(n.Name) {
				plain = false
			}
			has = has || n.Name == flag
		case *ast.CallExpr:
			plain = false
		}
		return true
	})
	return plain, has
}
