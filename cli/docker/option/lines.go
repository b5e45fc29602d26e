package option

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	whiteSpace = " \t\r\n\v\f"
	// maxFile is how much of a file of variables or labels is read.
	maxFile = 4 << 20
)

// lines reads files of KEY=VALUE lines, in order. With env a KEY alone takes the
// value that it has here, and stays away if it has none; without, it stays bare.
func (a Around) lines(paths []string, env bool) ([]string, error) {
	var all []string
	for _, p := range paths {
		f, err := a.Open(p)
		if err != nil {
			return nil, err
		}
		found, err := a.file(p, io.LimitReader(f, maxFile+1), env)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (a Around) file(name string, r io.Reader, env bool) ([]string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	var out []string
	scan := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	scan.Buffer(nil, maxFile+1)
	for n := 1; scan.Scan(); n++ {
		if !utf8.Valid(scan.Bytes()) {
			return nil, fmt.Errorf("env file %s contains invalid utf8 bytes at line %d: %v", name, n, scan.Bytes())
		}
		line, err := a.line(scan.Text(), env)
		if err != nil {
			return nil, err
		}
		if line != "" {
			out = append(out, line)
		}
	}
	return out, scan.Err()
}

// line is one line, "" if it says nothing.
func (a Around) line(text string, env bool) (string, error) {
	text = strings.TrimLeft(text, whiteSpace)
	if text == "" || text[0] == '#' {
		return "", nil
	}
	key, value, ok := strings.Cut(text, "=")
	switch {
	case key == "":
		return "", fmt.Errorf("poorly formatted environment: no variable name on line '%s'", text)
	case strings.ContainsAny(key, whiteSpace) && ok:
		return "", fmt.Errorf("poorly formatted environment: variable '%s' contains whitespaces", key)
	case ok:
		return key + "=" + value, nil
	case !env:
		return strings.TrimSpace(key), nil
	}
	key = strings.TrimSpace(key)
	if strings.ContainsAny(key, whiteSpace) {
		return "", fmt.Errorf("poorly formatted environment: variable '%s' contains whitespaces", key)
	}
	if v, ok := a.Getenv(key); ok {
		return key + "=" + v, nil
	}
	return "", nil
}

// checkVariable refuses a variable without a name.
func checkVariable(s string) error {
	if s == "" || s[0] == '=' {
		return fmt.Errorf("invalid environment variable: %s", s)
	}
	return nil
}

// variable is -e's word: a KEY alone takes the value that it has here; without
// one it stays bare, which takes the image's away.
func (a Around) variable(s string) string {
	if strings.Contains(s, "=") {
		return s
	}
	if v, ok := a.Getenv(s); ok {
		return s + "=" + v
	}
	return s
}

// Variables is the environment that --env-file and -e ask for.
func (a Around) Variables(files, words []string) ([]string, error) {
	all, err := a.lines(files, true)
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		all = append(all, a.variable(w))
	}
	return all, nil
}
