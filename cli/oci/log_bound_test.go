package oci

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestLongErrors: an error with a long foreign text keeps its begin and its
// reason, in one short line.
func TestLongErrors(t *testing.T) {
	var b bytes.Buffer
	newLogger(&b).fatal(errors.New("open \""+strings.Repeat("ä\n", 1<<20)+"\": no such file"), 1)
	if n := b.Len(); n > 4000 || strings.Count(b.String(), "\n") != 1 || !strings.Contains(b.String(), "open ") || !strings.Contains(b.String(), "no such file") {
		t.Errorf("%d bytes: %.200s", n, b.String())
	}
}
