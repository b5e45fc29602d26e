package docker

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/netns"
)

// walked are the verbs whose flags must all have a case: ours under this path,
// and the lines that count for it.
var walked = []string{
	"run", "create", "start", "stop", "restart", "kill", "rm", "ps", "inspect", "logs", "attach", "exec", "rename", "update", "pause", "unpause",
	"wait", "top", "stats", "port", "diff", "events", "container prune", "volume create", "volume ls", "volume inspect", "volume rm", "volume prune",
	"system df", "system prune", "system events", "system info", "info", "version",
	"images", "rmi", "tag", "save", "load", "import", "history", "pull", "push", "image inspect", "image prune", "search", "login", "logout",
	"cp", "commit", "export",
}

// same are verbs that share another one's flags.
var same = map[string]string{"create": "run", "run": "create", "system events": "events", "system info": "info"}

var flagLine = regexp.MustCompile(`(?m)^\s+(?:-(\w), )?--([a-z0-9-]+)`)

// flags are what a program's help of a verb lists: each flag's long name, and
// the short one as a second key of the same.
func flags(t *testing.T, program []string, verb string) map[string]string {
	t.Helper()
	cmd := exec.Command(program[0], append(append(program[1:len(program):len(program)], strings.Fields(verb)...), "--help")...)
	cmd.Env = environment(t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", verb, err, out)
	}
	all := map[string]string{}
	for _, m := range flagLine.FindAllStringSubmatch(string(out), -1) {
		all["--"+m[2]] = m[2]
		if m[1] != "" {
			all["-"+m[1]] = m[2]
		}
	}
	delete(all, "--help")
	return all
}

// covered are the flags of a verb that a group shows the effect of.
func covered(all []*group, verb string, known map[string]string) map[string]bool {
	done := map[string]bool{}
	for _, g := range all {
		for _, l := range g.lines {
			v := l.verb()
			if v != verb && v != same[verb] && "container "+verb != v {
				continue
			}
			for _, w := range l.words {
				name, _, _ := strings.Cut(w.text, "=")
				if w.option > 0 && strings.HasPrefix(name, "-") {
					done[known[name]] = true
				}
			}
		}
	}
	return done
}

// listed reads VERB FLAG: REASON lines of a file below cases.
func listed(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile("cases/" + file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for l := range strings.Lines(string(data)) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		what, reason, ok := strings.Cut(l, ": ")
		if !ok || reason == "" {
			t.Fatalf("%s: no reason: %s", file, l)
		}
		all[what] = reason
	}
	return all
}

// TestEveryFlagHasACase walks the definitions of our flags.
func TestEveryFlagHasACase(t *testing.T) {
	berth := ourProgram(t)
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	plain := listed(t, "plain.list")
	for what, reason := range listed(t, "later.list") {
		plain[what] = reason
	}
	images, err := os.ReadFile("../../conform/images-docker.txt")
	if err != nil {
		t.Fatal(err)
	}
	used, total := map[string]bool{}, 0
	var missing []string
	for _, verb := range walked {
		known := flags(t, []string{berth}, verb)
		done := covered(all, verb, known)
		for key, name := range known {
			if key != "--"+name {
				continue
			}
			total++
			what := verb + " --" + name
			if plain[what] != "" || plain[same[verb]+" --"+name] != "" {
				used[what], used[same[verb]+" --"+name] = true, true
				continue
			}
			if !done[name] && !inLines(string(images), verb, name, known) {
				missing = append(missing, what)
			}
		}
	}
	slices.Sort(missing)
	t.Logf("%d flags", total)
	for _, what := range missing {
		t.Errorf("%s has no case", what)
	}
	for what := range plain {
		if !used[what] {
			t.Errorf("plain.list or later.list: there is no %s", what)
		}
	}
}

// inLines reports whether a line of test/conform's list types the flag.
func inLines(text, verb, name string, known map[string]string) bool {
	for l := range strings.Lines(text) {
		words := strings.Fields(l)
		if len(words) == 0 || !strings.HasPrefix(l, verb+" ") && !strings.HasPrefix(l, "image "+verb+" ") {
			continue
		}
		for _, w := range words {
			w, _, _ = strings.Cut(w, "=")
			if known[w] == name {
				return true
			}
		}
	}
	return false
}

// TestDockersFlags walks what docker's help lists: we have it, or refuse it for
// a listed reason.
func TestDockersFlags(t *testing.T) {
	netns.Need(t)
	link := t.TempDir() + "/docker"
	if err := os.Symlink(ourProgram(t), link); err != nil {
		t.Fatal(err)
	}
	refused := listed(t, "refused.list")
	for _, verb := range walked {
		ours := flags(t, []string{link}, verb)
		for key, name := range flags(t, []string{"/usr/bin/docker"}, verb) {
			what := verb + " " + key
			if ours[key] != "" || refused[what] != "" {
				delete(refused, what)
				continue
			}
			t.Errorf("docker has %s (--%s), we do not", what, name)
		}
	}
	for what, reason := range refused {
		t.Errorf("refused.list: docker has no %s, or we do: %s", what, reason)
	}
}

// TestFewDifferences counts what is listed.
func TestFewDifferences(t *testing.T) {
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var differ []string
	lines, options := 0, 0
	for _, g := range all {
		if g.ours {
			continue
		}
		options += g.options
		for _, l := range g.lines {
			if l.shell {
				continue
			}
			lines++
			if l.differs != "" {
				differ = append(differ, fmt.Sprintf("%s: %s\n\t%s", l.at, l.text(), l.differs))
			}
		}
	}
	t.Logf("%d command lines, %d options with a control, %d differ:\n%s", lines, options, len(differ), strings.Join(differ, "\n"))
	if lines < 400 {
		t.Errorf("only %d command lines", lines)
	}
	if len(differ)*20 > lines {
		t.Errorf("%d of %d differ", len(differ), lines)
	}
}
