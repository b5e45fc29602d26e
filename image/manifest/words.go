package manifest

import (
	"slices"
	"strings"

	"berth/base/fault"
)

// split cuts a line of a Dockerfile into words. Quotes and backslashes keep
// blanks and stay in the word, for expand to take away.
func split(s string) ([]string, error) {
	var words []string
	start, quote := -1, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			if start >= 0 {
				words, start = append(words, s[start:i]), -1
			}
			continue
		case c == '\\' && quote != '\'':
			if start < 0 {
				start = i
			}
			i++
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
		if start < 0 {
			start = i
		}
	}
	if quote != 0 {
		return nil, fault.New(fault.Invalid, "unexpected end of statement while looking for matching %s", string(quote))
	}
	if start >= 0 {
		words = append(words, s[start:])
	}
	return words, nil
}

// expand takes away quotes and backslashes and puts in variables: $NAME,
// ${NAME}, ${NAME:-word}, ${NAME:+word}; not within single quotes.
func expand(s string, env []string) (string, error) {
	e := expander{s: s, env: env}
	return e.until(0)
}

// expander walks one word.
type expander struct {
	s   string
	i   int
	env []string
	in  int // how deep in ${…}
}

// until expands up to an unquoted end byte, or to the end of the word for 0.
func (e *expander) until(end byte) (string, error) {
	var out strings.Builder
	quote := byte(0)
	for e.i < len(e.s) {
		c := e.s[e.i]
		e.i++
		switch {
		case quote == '\'' && c != '\'':
			out.WriteByte(c)
		case c == '\\' && e.i < len(e.s):
			if quote == '"' && !strings.ContainsRune("\"$\\", rune(e.s[e.i])) {
				out.WriteByte('\\')
			}
			out.WriteByte(e.s[e.i])
			e.i++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && end != 0 && c == end:
			return out.String(), nil
		case c == '$':
			v, err := e.variable()
			if err != nil {
				return "", err
			}
			out.WriteString(v)
		default:
			out.WriteByte(c)
		}
	}
	if end != 0 {
		return "", fault.New(fault.Invalid, "a variable's } is missing in %.80q", e.s)
	}
	return out.String(), nil
}

// variable reads what follows a $.
func (e *expander) variable() (string, error) {
	braced := e.i < len(e.s) && e.s[e.i] == '{'
	if braced {
		e.i++
	}
	start := e.i
	for e.i < len(e.s) && isNameByte(e.s[e.i], e.i > start) {
		e.i++
	}
	name := e.s[start:e.i]
	if !braced {
		if name == "" {
			return "$", nil
		}
		return lookup(e.env, name), nil
	}
	rest := e.s[e.i:]
	value := lookup(e.env, name)
	switch {
	case name == "":
	case strings.HasPrefix(rest, "}"):
		e.i++
		return value, nil
	case strings.HasPrefix(rest, ":-"), strings.HasPrefix(rest, ":+"):
		if e.in++; e.in > MaxDepth {
			break
		}
		e.i += 2
		word, err := e.until('}')
		e.in--
		if (value == "") == (rest[1] == '-') {
			return word, err
		}
		if rest[1] == '+' {
			return "", err
		}
		return value, err
	}
	return "", fault.New(fault.Invalid, "a variable in %.80q cannot be read", e.s)
}

func isNameByte(c byte, digits bool) bool {
	return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' || digits && '0' <= c && c <= '9'
}

func lookup(env []string, name string) string {
	for _, v := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
