package logfile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tricky is output that every rule of the forms has something to say about.
// dockerd 20.10.24 logged it to the files in testdata: `cat` of it.
func tricky() []byte {
	var b bytes.Buffer
	for c := range 256 {
		b.WriteString("byte ")
		b.WriteByte(byte(c))
		b.WriteString(" end\n")
	}
	b.WriteString("\n\n\r\n\t tab \"quoted\" back\\slash <a href='x'>&amp;</a>\n")
	b.WriteString("separators \u2028 \u2029 \u2030, 世界, \U0001F600, \uFFFD real, \xff\xfe not, \xe4\xb8 cut, \xed\xa0\x80 half\n")
	for _, n := range []int{16382, 16383, 16384, 16385, 16386, 32767, 32768, 32769, 49152, 100000} {
		b.WriteString(strings.Repeat("x", n-1))
		b.WriteString("y\n")
	}
	b.WriteString("é" + strings.Repeat("é", 30000) + "\n") // pieces end inside a character
	b.WriteString("z" + strings.Repeat("é", 30000) + "\n")
	b.WriteString(strings.Repeat("w", 20000)) // ends without a newline
	return b.Bytes()
}

func TestWriteTricky(t *testing.T) {
	if path := os.Getenv("TRICKY"); path != "" { // for making testdata anew
		if err := os.WriteFile(path, tricky(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func docker(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// written is what a log of ours holds after the tricky output, taken in chunks
// of n bytes.
func written(t *testing.T, driver string, n int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(Options{Driver: driver, Path: path, MaxFile: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := l.Stream("stdout")
	for in := tricky(); len(in) > 0; {
		n := min(n, len(in))
		s.Write(in[:n])
		in = in[n:]
	}
	s.End()
	l.Close()
	if l.Lost() != 0 {
		t.Errorf("lost %d", l.Lost())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var jsonTime = regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"}`)

func TestJSONFileIsDockers(t *testing.T) {
	want := jsonTime.ReplaceAll(docker(t, "json-file.gz"), []byte(`"time":"T"}`))
	for _, n := range []int{1, 7, 4096, 32 << 10, 1 << 20} {
		got := jsonTime.ReplaceAll(written(t, "json-file", n), []byte(`"time":"T"}`))
		compare(t, n, got, want)
	}
}

func compare(t *testing.T, n int, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("chunks of %d: %d bytes, want %d; from byte %d: %.80q, want %.80q", n, len(got), len(want), i, got[max(0, i-20):], want[max(0, i-20):])
}

// timeless cuts the times and the random ids out of a local log, whose frames
// it checks.
func timeless(t *testing.T, b []byte) []byte {
	t.Helper()
	var out []byte
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		if len(b) < int(n)+8 || binary.BigEndian.Uint32(b[4+n:]) != n {
			t.Fatalf("a frame of %d with %d left", n, len(b))
		}
		m := b[4 : 4+n]
		b = b[8+n:]
		for len(m) > 0 {
			key := m[0]
			size, w := binary.Uvarint(m[1:])
			switch {
			case key == 2<<3:
				out = append(out, "time;"...)
				m = m[1+w:]
			case key&7 == 0:
				out = append(out, m[:1+w]...)
				m = m[1+w:]
			default:
				field := m[1+w : 1+w+int(size)]
				if key == 5<<3|2 {
					field = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAll(field, []byte("id"))
				}
				out = append(append(out, key), field...)
				m = m[1+w+int(size):]
			}
		}
	}
	return out
}

func TestLocalIsDockers(t *testing.T) {
	want := timeless(t, docker(t, "local.gz"))
	for _, n := range []int{7, 32 << 10} {
		compare(t, n, timeless(t, written(t, "local", n)), want)
	}
}
