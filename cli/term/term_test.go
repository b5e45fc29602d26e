package term

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":               "plain",
		"":                    "",
		"umlaut ä, 日本":        "umlaut ä, 日本",
		"\x1b[2Jgone":         `\x1b[2Jgone`,
		"a\rb\nc\td":          `a\x0db\nc d`,
		"\x7f\u009b31m":       `\x7f\x9b31m`,
		"bad \xff\xfe":        `bad \xff\xfe`,
		"txt\u202eexe":        `txt\u202eexe`,
		"zero\u200bwidth":     `zero\u200bwidth`,
		"\u2028line\ufeffbom": `\u2028line\ufeffbom`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := CleanText("a\n\tb\x1b\n"); got != "a\n\tb\\x1b\n" {
		t.Errorf("CleanText keeps line ends and tabs: %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b]0;x\x07\u009b")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Clean(s) {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Fatalf("%q is left in Clean(%q)", r, s)
			}
		}
	})
}

func TestCleanerAcrossWrites(t *testing.T) {
	var b bytes.Buffer
	w := Cleaner(&b)
	for _, c := range []byte("ä\u009bx\n") {
		if n, err := w.Write([]byte{c}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if b.String() != "ä\\x9bx\n" {
		t.Errorf("got %q", b.String())
	}
}

func TestLinesPlain(t *testing.T) {
	var b bytes.Buffer
	l := NewLines(&b, 0)
	l.Text("v1: Pulling from %s", "x/\x1bbb")
	l.State("aa", "Pulling fs layer")
	l.Amount("aa", "Downloading", 1, 2)
	l.State("aa", "Download complete")
	l.State("aa", "Download complete")
	l.State("aa", "Pull complete")
	want := "v1: Pulling from x/\\x1bbb\naa: Pulling fs layer\naa: Download complete\naa: Pull complete\n"
	if b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

func TestLinesTerminal(t *testing.T) {
	var b bytes.Buffer
	l := NewLines(&b, 80)
	clock := time.Unix(0, 0)
	l.now = func() time.Time { return clock }
	l.State("aa", "Pulling fs layer")
	l.State("bb", "Pulling fs layer")
	l.Amount("aa", "Downloading", 36450, 1064000)
	l.Amount("aa", "Downloading", 36451, 1064000) // too soon
	l.Amount("aa", "Downloading", 1064000, 1064000)
	l.Text("done")
	want := "\n\x1b[1A\x1b[2K\raa: Pulling fs layer \r\x1b[1B" +
		"\n\x1b[1A\x1b[2K\rbb: Pulling fs layer \r\x1b[1B" +
		"\x1b[2A\x1b[2K\raa: Downloading   36.45kB/1.064MB\r\x1b[2B" +
		"\x1b[2A\x1b[2K\raa: Downloading   1.064MB/1.064MB\r\x1b[2B" +
		"done\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}

func TestBar(t *testing.T) {
	if got := bar(5, 10, 120); got != "["+strings.Repeat("=", 25)+">"+strings.Repeat(" ", 25)+"]       5B/10B" {
		t.Errorf("half: %q", got)
	}
	if got := bar(5, 0, 120); got != "      5B" {
		t.Errorf("unknown total: %q", got)
	}
	if got := cut("abcdef", 3); got != "abc" {
		t.Errorf("cut: %q", got)
	}
}

func TestConfirm(t *testing.T) {
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "maybe\n": false} {
		if got, err := Confirm(strings.NewReader(in), io.Discard, "?"); got != want || err != nil {
			t.Errorf("%q: %t, %v", in, got, err)
		}
	}
	if _, err := Confirm(strings.NewReader(""), io.Discard, "?"); !errors.Is(err, io.EOF) {
		t.Errorf("no answer: %v", err)
	}
}
