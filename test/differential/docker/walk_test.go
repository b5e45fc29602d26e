package docker

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/netns"
)

// same are verbs under another path; more are found by their equal flags.
var same = map[string]string{
	"create": "run", "container ls": "ps", "image ls": "images", "image rm": "rmi", "container umount": "unmount", "umount": "unmount",
}

var (
	flagLine = regexp.MustCompile(`(?m)^\s+(?:-(\w), )?--([a-z0-9-]+)`)
	verbLine = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*)\*? +\S`)
)

// help is what a program's help of a verb lists: each flag's long name, and
// the short one as a second key of the same; and the verbs below it.
type help struct {
	flags map[string]string
	verbs []string
}

func helpOf(t *testing.T, program, verb string) help {
	t.Helper()
	cmd := exec.Command(program, append(strings.Fields(verb), "--help")...)
	cmd.Env = environment(t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", verb, err, out)
	}
	h := help{flags: map[string]string{}}
	for _, m := range flagLine.FindAllStringSubmatch(string(out), -1) {
		h.flags["--"+m[2]] = m[2]
		if m[1] != "" {
			h.flags["-"+m[1]] = m[2]
		}
	}
	delete(h.flags, "--help")
	if _, list, ok := strings.Cut(string(out), "Commands:\n"); ok {
		for _, m := range verbLine.FindAllStringSubmatch(list, -1) {
			h.verbs = append(h.verbs, strings.TrimSpace(verb+" "+m[1]))
		}
	}
	return h
}

// walk gives the help of all verbs of a program, without those that skip says
// and what is below them; "" is the program's own.
func walk(t *testing.T, program string, skip func(verb string) bool) map[string]help {
	t.Helper()
	all := map[string]help{}
	for next := []string{""}; len(next) > 0; next = next[1:] {
		if skip(next[0]) {
			continue
		}
		h := helpOf(t, program, next[0])
		all[next[0]] = h
		next = append(next, h.verbs...)
	}
	return all
}

func none(string) bool { return false }

// canonical is the path that a verb's flags are counted for.
func canonical(all map[string]help, verb string) string {
	if other := same[verb]; other != "" {
		return other
	}
	for _, group := range []string{"container ", "image ", "system "} {
		if top, ok := strings.CutPrefix(verb, group); ok && maps.Equal(all[top].flags, all[verb].flags) && len(all[verb].verbs) == 0 {
			if _, ok := all[top]; ok {
				return top
			}
		}
	}
	return verb
}

// covered are the flags, as VERB --FLAG, that a group shows the effect of.
func covered(groups []*group, all map[string]help) map[string]bool {
	done := map[string]bool{}
	for _, g := range groups {
		for _, l := range g.lines {
			verb := canonical(all, l.verb())
			for _, w := range l.words {
				name, _, _ := strings.Cut(w.text, "=")
				if w.option > 0 && strings.HasPrefix(name, "-") {
					done[flagOf(verb, all[verb].flags[name])] = true
				}
			}
		}
	}
	return done
}

func flagOf(verb, name string) string { return strings.TrimSpace(verb + " --" + name) }

// conformed adds what the lists of test/conform type: lines that are compared
// with docker's or podman's, about images.
func conformed(t *testing.T, all map[string]help, done map[string]bool) {
	t.Helper()
	for _, file := range []string{"images-docker.txt", "images-podman.txt"} {
		data, err := os.ReadFile("../../conform/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for s := range strings.Lines(string(data)) {
			l := &line{}
			for _, w := range strings.Fields(s) {
				l.words = append(l.words, word{text: w})
			}
			verb := canonical(all, l.verb())
			for _, w := range l.words {
				name, _, _ := strings.Cut(w.text, "=")
				if long := all[verb].flags[name]; long != "" {
					done[flagOf(verb, long)] = true
				}
			}
		}
	}
}

// listed reads WHAT: REASON lines of a file below cases.
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
	groups, err := load()
	if err != nil {
		t.Fatal(err)
	}
	all := walk(t, ourProgram(t), none)
	done := covered(groups, all)
	conformed(t, all, done)
	reasons := listed(t, "plain.list")
	total, excused := 0, 0
	for _, verb := range slices.Sorted(maps.Keys(all)) {
		if canonical(all, verb) != verb {
			continue
		}
		for key, name := range all[verb].flags {
			if key != "--"+name {
				continue
			}
			total++
			what := flagOf(verb, name)
			switch {
			case reasons[what] != "" && done[what]:
				t.Errorf("%s has a case, and a reason to have none: %s", what, reasons[what])
			case reasons[what] != "":
				excused++
			case !done[what]:
				t.Errorf("%s has no case", what)
			}
			delete(reasons, what)
		}
	}
	t.Logf("%d flags, %d of them listed without a case", total, excused)
	for what := range reasons {
		t.Errorf("plain.list: there is no %s", what)
	}
}

// TestDockersFlags walks what docker's help lists: we have it, or refuse it for
// a listed reason; a verb that is refused is so with all that is below it.
func TestDockersFlags(t *testing.T) {
	netns.Need(t)
	link := t.TempDir() + "/docker"
	if err := os.Symlink(ourProgram(t), link); err != nil {
		t.Fatal(err)
	}
	ours, refused, used := walk(t, link, none), listed(t, "refused.list"), map[string]bool{}
	theirs := walk(t, "/usr/bin/docker", func(verb string) bool {
		_, have := ours[verb]
		used[verb] = !have
		return !have && refused[verb] != ""
	})
	for _, verb := range slices.Sorted(maps.Keys(theirs)) {
		have, ok := ours[verb]
		if !ok {
			t.Errorf("docker has the verb %s, we do not", verb)
			continue
		}
		for key, name := range theirs[verb].flags {
			what := strings.TrimSpace(verb + " " + key)
			if have.flags[key] != "" {
				continue
			}
			if used[what] = true; refused[what] == "" {
				t.Errorf("docker has %s (--%s), we do not", what, name)
			}
		}
	}
	for what, reason := range refused {
		if !used[what] {
			t.Errorf("refused.list: docker has no %s, or we do: %s", what, reason)
		}
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
