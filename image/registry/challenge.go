package registry

import (
	"net/http"
	"strings"
)

// challenge is one entry of WWW-Authenticate (RFC 9110, 11.6.1).
type challenge struct {
	scheme string // "basic" or "bearer", lower case
	params map[string]string
}

// maxChallenge is the cap on the header together; what is longer is ignored.
const maxChallenge = 16 << 10

// pick reads the header and takes bearer before basic.
func pick(h http.Header) (challenge, bool) {
	var basic challenge
	for _, line := range h.Values("WWW-Authenticate") {
		for _, c := range parseChallenges(line) {
			if c.scheme == "bearer" && c.params["realm"] != "" {
				return c, true
			}
			if c.scheme == "basic" {
				basic = c
			}
		}
	}
	return basic, basic.scheme != ""
}

// parseChallenges reads a comma separated list of challenges. It takes what it
// understands and stops at the first thing it does not.
func parseChallenges(s string) []challenge {
	if len(s) > maxChallenge {
		return nil
	}
	var out []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		scheme, rest := word(s)
		if scheme == "" {
			return out
		}
		c := challenge{scheme: strings.ToLower(scheme), params: map[string]string{}}
		for {
			rest = strings.TrimLeft(rest, " \t,")
			key, after := word(rest)
			after = strings.TrimLeft(after, " \t")
			if key == "" || !strings.HasPrefix(after, "=") {
				break // the next scheme, or the end
			}
			value, after, ok := valueOf(strings.TrimLeft(after[1:], " \t"))
			if !ok {
				return append(out, c)
			}
			key = strings.ToLower(key)
			if _, twice := c.params[key]; !twice {
				c.params[key] = value
			}
			rest = after
		}
		out = append(out, c)
		if rest == s { // no progress
			return out
		}
		s = rest
	}
}

// word cuts an RFC 9110 token off.
func word(s string) (token, rest string) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// valueOf cuts a token or a quoted string off.
func valueOf(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		// Some registries do not quote an address.
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
