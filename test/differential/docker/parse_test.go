package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group is command lines that follow each other in one state; nothing is left
// of it when the next group begins.
type group struct {
	name    string
	lines   []*line
	options int  // pairs of parentheses
	ours    bool // about words that docker does not have
}

// line is one command line, with what is said of it.
type line struct {
	at       string // file:number
	words    []word
	shell    bool // the words are for the caller's shell; $DOCKER is the program
	within   time.Duration
	input    string
	typed    string // on a terminal of its own
	terminal bool
	checks   []check
	until    *regexp.Regexp
	took     time.Duration // how long ours needed until then
	differs  string        // why, if what is printed differs
}

// word is of the n-th pair of parentheses, or of none (0).
type word struct {
	text   string
	option int
}

// check is an assertion about what a line prints.
type check struct {
	stderr, absent bool
	match          *regexp.Regexp
	code           int // if match is nil
}

func (c check) String() string {
	switch {
	case c.match == nil:
		return fmt.Sprintf("exit with %d", c.code)
	case c.absent:
		return "not print " + c.match.String()
	}
	return "print " + c.match.String()
}

func (c check) holds(o outcome) bool {
	if c.match == nil {
		return o.code == c.code
	}
	text := o.stdout
	if c.stderr {
		text = o.stderr
	}
	return c.match.MatchString(text) != c.absent
}

// short are words that stand for several, or for what the test made.
var short = map[string][]string{"RUN": {"run", "--rm", "--network", "none"}}

// verb is the path of the verb, as far as docker groups its verbs.
func (l *line) verb() string {
	var path []string
	words := l.words
	if i := slices.IndexFunc(words, func(w word) bool { return w.text == "$DOCKER" }); i >= 0 {
		words = words[i+1:]
	}
	for _, w := range words {
		if strings.HasPrefix(w.text, "-") {
			break
		}
		path = append(path, w.text)
		if !groups[strings.Join(path, " ")] {
			break
		}
	}
	return strings.Join(path, " ")
}

var groups = map[string]bool{
	"volume": true, "network": true, "container": true, "image": true, "system": true, "manifest": true, "image trust": true, "healthcheck": true, "secret": true,
}

// text is the line as a person would type it.
func (l *line) text() string {
	var words []string
	for _, w := range l.words {
		words = append(words, w.text)
	}
	if l.shell {
		return "! " + strings.Join(words, " ")
	}
	return "docker " + strings.Join(words, " ")
}

// load reads all files of cases.
func load() ([]*group, error) {
	files, err := filepath.Glob("cases/*.txt")
	if err != nil {
		return nil, err
	}
	var all []*group
	names := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		some, err := parse(filepath.Base(file), string(data))
		if err != nil {
			return nil, err
		}
		for _, g := range some {
			if names[g.name] {
				return nil, fmt.Errorf("%s: two groups named %s", file, g.name)
			}
			names[g.name] = true
		}
		all = append(all, some...)
	}
	return all, nil
}

// parse reads one file of cases; the form is told in cases/README.md.
func parse(file, text string) ([]*group, error) {
	var all []*group
	verb := strings.TrimSuffix(file, ".txt")
	for i, s := range strings.Split(text, "\n") {
		at := fmt.Sprintf("%s:%d", file, i+1)
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
		}
		name, isGroup := strings.CutPrefix(s, "== ")
		switch {
		case strings.TrimSpace(s) == "" || strings.HasPrefix(s, "#"):
			continue
		case isGroup:
			name, ours := strings.CutSuffix(name, " (ours)")
			all = append(all, &group{name: verb + "/" + strings.ReplaceAll(name, " ", "-"), ours: ours})
			continue
		case len(all) == 0:
			return nil, bad("a line before the first group")
		}
		g := all[len(all)-1]
		if !strings.HasPrefix(s, "\t") {
			l, err := g.parseLine(s)
			if err != nil {
				return nil, bad("%v", err)
			}
			l.at = at
			g.lines = append(g.lines, l)
			continue
		}
		if len(g.lines) == 0 {
			return nil, bad("said of no line")
		}
		if err := g.lines[len(g.lines)-1].say(strings.TrimSpace(s)); err != nil {
			return nil, bad("%v", err)
		}
	}
	return all, nil
}

func (g *group) parseLine(s string) (*line, error) {
	s, shell := strings.CutPrefix(s, "! ")
	words, err := split(s)
	if shell {
		words, err = strings.Split(s, " "), nil
	}
	if err != nil {
		return nil, err
	}
	l, inside := &line{shell: shell, within: limit}, 0
	for _, w := range words {
		switch {
		case w == "(":
			g.options++
			inside = g.options
		case w == ")":
			inside = 0
		case short[w] != nil:
			for _, s := range short[w] {
				l.words = append(l.words, word{s, inside})
			}
		default:
			l.words = append(l.words, word{w, inside})
		}
	}
	return l, nil
}

// say adds a directive to the line before it.
func (l *line) say(s string) (err error) {
	key, rest, _ := strings.Cut(s, " ")
	switch key {
	case "see", "not":
		c := check{absent: key == "not"}
		if after, ok := strings.CutPrefix(rest, "stderr "); ok {
			c.stderr, rest = true, after
		}
		c.match, err = regexp.Compile("(?m)" + rest)
		l.checks = append(l.checks, c)
	case "exits":
		var n int
		n, err = strconv.Atoi(rest)
		l.checks = append(l.checks, check{code: n})
	case "within":
		l.within, err = time.ParseDuration(rest + "s")
	case "in":
		l.input = strings.ReplaceAll(rest, `\n`, "\n")
	case "terminal":
		l.terminal, l.typed = true, strings.ReplaceAll(rest, `\n`, "\n")
	case "until":
		l.until, err = regexp.Compile("(?m)" + rest)
	case "differs":
		if !strings.HasPrefix(rest, "docker: ") && !strings.HasPrefix(rest, "stricter: ") {
			return fmt.Errorf("a difference is docker's (docker: …) or ours on purpose (stricter: …)")
		}
		l.differs = rest
	default:
		return fmt.Errorf("unknown directive %q", key)
	}
	return err
}

// split parts a line into words; single and double quotes keep spaces.
func split(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	quote, open := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ':
			if open {
				words = append(words, b.String())
			}
			b.Reset()
			open = false
		default:
			open = true
			b.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if open {
		words = append(words, b.String())
	}
	return words, nil
}
