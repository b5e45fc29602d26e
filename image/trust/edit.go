package trust

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"berth/base/fault"
)

// DefaultScope is the prefix that stands for all images without a rule.
const DefaultScope = "default"

// Entry is one rule as the file has it: keys are names of files.
type Entry struct {
	Prefix  string // DefaultScope for the default
	Action  Action
	Keys    []string
	Digests []string
}

// Entries lists a policy file's rules, the default first.
func Entries(raw []byte) ([]Entry, error) {
	var f policyFile
	if err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, fault.New(fault.Invalid, "read policy: %s", oneLine(err))
	}
	if f.Default == "" {
		f.Default = Accept
	}
	out := []Entry{{Prefix: DefaultScope, Action: f.Default}}
	for _, r := range f.Rule {
		out = append(out, Entry{Prefix: r.Prefix, Action: r.Action, Keys: r.Keys, Digests: r.Digests})
	}
	return out, nil
}

// Edit gives a policy file's text with one rule set; the other lines, comments
// among them, stay as they are. Whether the text is a policy is left to
// ParsePolicy.
func Edit(raw []byte, e Entry) ([]byte, error) {
	lines := strings.SplitAfter(string(raw), "\n")
	if n := len(lines); lines[n-1] == "" {
		lines = lines[:n-1]
	}
	if e.Prefix == DefaultScope {
		if e.Action != Accept && e.Action != Reject {
			return nil, fault.New(fault.Invalid, "the default is accept or reject, not %q", e.Action)
		}
		return editDefault(lines, fmt.Sprintf("default = %q\n", e.Action)), nil
	}
	for start := 0; start < len(lines); {
		end := blockEnd(lines, start)
		if prefixOf(lines[start:end]) == e.Prefix {
			return []byte(strings.Join(lines[:start], "") + e.text() + strings.Join(lines[end:], "")), nil
		}
		start = end
	}
	text := strings.Join(lines, "")
	if text != "" {
		text = strings.TrimRight(text, "\n") + "\n\n"
	}
	return []byte(text + e.text()), nil
}

// editDefault puts the line of the default in the place of the old one, or in
// front.
func editDefault(lines []string, line string) []byte {
	for i, l := range lines {
		word, _, _ := strings.Cut(strings.TrimSpace(l), "=")
		if strings.HasPrefix(word, "[") {
			break
		}
		if strings.TrimSpace(word) == "default" {
			return []byte(strings.Join(lines[:i], "") + line + strings.Join(lines[i+1:], ""))
		}
	}
	if len(lines) > 0 {
		line += "\n"
	}
	return []byte(line + strings.Join(lines, ""))
}

// blockEnd is where the table that begins at a line ends: empty lines and
// comments in front of the next one belong to that.
func blockEnd(lines []string, start int) int {
	end := start + 1
	for end < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[end]), "[[") {
		end++
	}
	for end < len(lines) && end > start+1 {
		if l := strings.TrimSpace(lines[end-1]); l != "" && l[0] != '#' {
			break
		}
		end--
	}
	return end
}

// prefixOf is what a rule's lines are for, "" if they are no rule.
func prefixOf(lines []string) string {
	var f policyFile
	if err := toml.Unmarshal([]byte(strings.Join(lines, "")), &f); err != nil || len(f.Rule) != 1 {
		return ""
	}
	return f.Rule[0].Prefix
}

func (e Entry) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[rule]]\nprefix = %q\naction = %q\n", e.Prefix, e.Action)
	list(&b, "keys", e.Keys)
	list(&b, "digests", e.Digests)
	return b.String()
}

func list(b *strings.Builder, name string, values []string) {
	if len(values) == 0 {
		return
	}
	quoted := make([]string, len(values))
	for i, s := range values {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	fmt.Fprintf(b, "%s = [%s]\n", name, strings.Join(quoted, ", "))
}
