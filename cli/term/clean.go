// Package term is what the command lines share about terminals: whether one is
// there and how wide, text made harmless, tables, progress lines, questions.
// It knows no verb and no engine. Row 6.
package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes a string from a registry or an image fit for one line of a
// terminal: control characters (C0, DEL, C1), invalid UTF-8, line ends and the
// characters that change the direction of text become visible escapes.
func Clean(s string) string { return clean(s, "") }

// CleanText is Clean for text of several lines: line ends and tabs stay.
func CleanText(s string) string { return clean(s, "\n\t") }

// Pairs is KEY=VALUE of each, harmless, in order.
func Pairs(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, Clean(k+"="+v))
	}
	slices.Sort(out)
	return out
}

func clean(s, keep string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !dangerous(r) || strings.ContainsRune(keep, r):
			b.WriteString(s[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteByte(' ')
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// plain reports whether s is printable ASCII, as nearly every string is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func dangerous(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// cleaner cleans what is written through it. A rune may be cut in two by the
// writer, so the beginning of one is kept for the next write.
type cleaner struct {
	w    io.Writer
	rest []byte
}

// Cleaner gives a writer that makes text harmless on its way to w.
func Cleaner(w io.Writer) io.Writer { return &cleaner{w: w} }

func (c *cleaner) Write(p []byte) (int, error) {
	data := append(c.rest, p...)
	c.rest = nil
	end := len(data)
	for i := max(0, end-utf8.UTFMax+1); i < end; i++ {
		if utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:]) {
			end = i
			break
		}
	}
	c.rest = append([]byte(nil), data[end:]...)
	if _, err := io.WriteString(c.w, CleanText(string(data[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
