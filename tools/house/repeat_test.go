package main

import (
	"strconv"
	"strings"
	"testing"
)

// repeat expands "@repeat N text" lines; "%d" in the text counts from 1.
func repeat(t *testing.T, src string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(src) {
		rest, ok := strings.CutPrefix(line, "@repeat ")
		if !ok {
			out.WriteString(line)
			continue
		}
		times, text, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(times)
		if err != nil {
			t.Fatalf("bad line %q", line)
		}
		for i := range n {
			out.WriteString(strings.ReplaceAll(text, "%d", strconv.Itoa(i+1)))
		}
	}
	return out.String()
}
