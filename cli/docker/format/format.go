// Package format turns rows and documents into what --format asks for: Docker's
// Go templates and their functions, tables with headings, JSON. It knows no
// verb and does not care whose rows they are. Row 6.
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// functions are those of Docker's templates; println, printf, index and the
// like are the template language's own.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":     jsonText,
		"split":    strings.Split,
		"join":     strings.Join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
	}
}

// headings are what the functions do to a heading, which is to stay readable.
func headings() template.FuncMap {
	same := func(s string) string { return s }
	return template.FuncMap{
		"json": same, "title": same, "lower": same, "upper": same, "truncate": func(s string, _ int) string { return s },
		"split": func(s, _ string) string { return s }, "join": func(s any, _ string) any { return s },
		"pad": pad,
	}
}

func title(s string) string {
	prev := ' '
	return strings.Map(func(r rune) rune {
		start := !unicode.IsLetter(prev) && !unicode.IsDigit(prev) && prev != '_' && prev != '\''
		prev = r
		if start {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(0, min(before, 1000))) + s + strings.Repeat(" ", max(0, min(after, 1000)))
}

func truncate(s string, n int) string {
	if n < 0 || len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func jsonText(v any) (string, error) {
	data, err := marshal(v, false)
	return string(data), err
}

// marshal is JSON on one line. Characters that a terminal would act on are
// written as escapes, which JSON reads back as the same.
func marshal(v any, escapeHTML bool) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return harmless(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// Indented is JSON on several lines, without a line end behind it.
func Indented(v any, indent string) ([]byte, error) {
	data, err := marshal(v, false)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", indent); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// harmless escapes what encoding/json leaves as it is: DEL, C1 and the
// characters that format text. They can stand in strings only.
func harmless(data []byte) []byte {
	dangerous := func(r rune) bool { return r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }
	if bytes.IndexFunc(data, dangerous) < 0 {
		return data
	}
	var b bytes.Buffer
	for _, r := range string(data) {
		switch {
		case !dangerous(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// Check says whether a template is one.
func Check(source string) error {
	_, err := parse(source, functions())
	return err
}

// parse reads a template; the error is docker's.
func parse(source string, f template.FuncMap) (*template.Template, error) {
	t, err := template.New("").Funcs(f).Parse(source)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return t, nil
}
