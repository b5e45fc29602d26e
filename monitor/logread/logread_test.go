package logread

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/monitor/logfile"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines reads a log into strings "stream line".
func lines(t testing.TB, o Options) (out []string) {
	t.Helper()
	must(t, Read(context.Background(), o, func(e *Entry) error {
		out = append(out, e.Stream+" "+string(e.Line))
		return nil
	}))
	return out
}

// dockers unpacks a log that dockerd wrote.
func dockers(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open("../logfile/testdata/" + name + ".gz")
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	path := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(path, b, 0o600))
	return path
}

// The same output was logged by both of Docker's drivers: json-file keeps text,
// local keeps bytes.
func TestReadsDockersLogs(t *testing.T) {
	text := lines(t, Options{Driver: "json-file", Path: dockers(t, "json-file"), Tail: -1})
	raw := lines(t, Options{Driver: "local", Path: dockers(t, "local"), Tail: -1})
	if len(text) != len(raw) || len(text) < 290 {
		t.Fatalf("%d entries and %d", len(text), len(raw))
	}
	for i := range raw {
		var valid strings.Builder
		for _, r := range raw[i] { // each byte that is no UTF-8 became U+FFFD
			valid.WriteRune(r)
		}
		if valid.String() != text[i] {
			t.Errorf("entry %d: %.60q and %.60q", i, raw[i], text[i])
		}
	}
	if raw[0] != "stdout byte \x00 end\n" || !strings.HasSuffix(raw[len(raw)-1], "ww") {
		t.Errorf("begins with %q, ends with %.20q", raw[0], raw[len(raw)-1])
	}
}

// write makes a log of numbered lines.
func write(t testing.TB, o logfile.Options, from, to int) {
	t.Helper()
	l, err := logfile.Open(o, pack(t, o.Compress))
	must(t, err)
	packer = l
	out, errs := l.Stream("stdout"), l.Stream("stderr")
	for i := from; i < to; i++ {
		s := out
		if i%3 == 0 {
			s = errs
		}
		s.Write([]byte(fmt.Sprintf("line %d\n", i)))
	}
	l.Close()
}

var packer *logfile.Log

// pack compresses at once.
func pack(t testing.TB, on bool) func(string) bool {
	return func(path string) bool {
		if !on {
			return false
		}
		b, err := os.ReadFile(path)
		must(t, err)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		must(t, w.Close())
		must(t, os.WriteFile(path+logfile.Packed, z.Bytes(), 0o600))
		must(t, os.Remove(path))
		return false
	}
}

func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		s := "stdout"
		if i%3 == 0 {
			s = "stderr"
		}
		out = append(out, fmt.Sprintf("%s line %d\n", s, i))
	}
	return out
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("entry %d of %d is %q, want %q of %d", i, len(got), got[i], want[i], len(want))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
}

func TestTailAndRotation(t *testing.T) {
	for _, driver := range []string{"json-file", "local"} {
		for _, compress := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "log")
			write(t, logfile.Options{Driver: driver, Path: path, MaxSize: 5000, MaxFile: 100, Compress: compress}, 0, 1000)
			for _, tail := range []int{-1, 0, 1, 10, 60, 999, 1000, 2000} {
				want := numbered(0, 1000)
				if tail >= 0 && tail < 1000 {
					want = want[1000-tail:]
				}
				equal(t, lines(t, Options{Driver: driver, Path: path, Tail: tail}), want)
			}
			write(t, logfile.Options{Driver: driver, Path: path, MaxSize: 5000, MaxFile: 2, Compress: compress}, 1000, 3000)
			got := lines(t, Options{Driver: driver, Path: path, Tail: 50})
			equal(t, got, numbered(2950, 3000))
		}
	}
}

func TestSinceAndUntil(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, logfile.Options{Driver: "json-file", Path: path}, 0, 10)
	time.Sleep(time.Millisecond)
	since := time.Now()
	write(t, logfile.Options{Driver: "json-file", Path: path}, 10, 20)
	until := time.Now()
	time.Sleep(time.Millisecond)
	write(t, logfile.Options{Driver: "json-file", Path: path}, 20, 30)
	o := Options{Driver: "json-file", Path: path, Tail: -1, Since: since, Until: until}
	equal(t, lines(t, o), numbered(10, 20))
	o.Follow = true // ends by itself: until is past
	equal(t, lines(t, o), numbered(10, 20))
}

func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, logfile.Options{Driver: "json-file", Path: path}, 0, 3)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("{\"log\":\"torn\n\x00\x00\n{}\n[1]\n\n" + strings.Repeat("x", 2<<20) + "\n")
	must(t, err)
	must(t, f.Close())
	write(t, logfile.Options{Driver: "json-file", Path: path}, 3, 5)
	equal(t, lines(t, Options{Driver: "json-file", Path: path, Tail: -1}), numbered(0, 5))

	if err := Read(context.Background(), Options{Driver: "json-file", Path: path + "x", Tail: -1}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("no log: %v", err)
	}
	if err := Read(context.Background(), Options{Driver: "none", Path: path, Tail: -1}, nil); !fault.Is(err, fault.Unsupported) {
		t.Errorf("none: %v", err)
	}
}

// A follower sees each line once, while the log is written, rotated and
// compressed, and ends with its end.
func TestFollow(t *testing.T) {
	for _, driver := range []string{"json-file", "local"} {
		for _, compress := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "log")
			o := logfile.Options{Driver: driver, Path: path, MaxSize: 20000, MaxFile: 3, Compress: compress}
			write(t, o, 0, 100)
			ended := make(chan struct{})
			seen := make(chan int, 1)
			go func() {
				// Never further ahead than the files that are kept.
				for i := 100; i < 3000; i += 100 {
					for n := range seen {
						if n >= i-1 {
							break
						}
					}
					write(t, o, i, i+100)
				}
				close(ended)
			}()
			var got []string
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			err := Read(ctx, Options{Driver: driver, Path: path, Tail: 10, Follow: true, Ended: ended}, func(e *Entry) error {
				got = append(got, e.Stream+" "+string(e.Line))
				var n int
				if _, err := fmt.Sscanf(string(e.Line), "line %d\n", &n); err != nil {
					return err
				}
				select {
				case <-seen:
				default:
				}
				seen <- n
				return nil
			})
			cancel()
			must(t, err)
			equal(t, got, numbered(90, 3000))
		}
	}
}

func TestFollowIsCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, logfile.Options{Driver: "json-file", Path: path}, 0, 1)
	ctx, cancel := context.WithCancel(context.Background())
	err := Read(ctx, Options{Driver: "json-file", Path: path, Tail: -1, Follow: true}, func(*Entry) error { cancel(); return nil })
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"log":"a\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}`+"\n"), true, 3)
	f.Add([]byte("\x00\x00\x00\x04\x0a\x02ab\x00\x00\x00\x04"), false, 1)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, json bool, tail int) {
		path := filepath.Join(dir, "log")
		must(t, os.WriteFile(path, b, 0o600))
		driver := "local"
		if json {
			driver = "json-file"
		}
		n := 0
		_ = Read(context.Background(), Options{Driver: driver, Path: path, Tail: tail}, func(*Entry) error { n++; return nil })
		if n > len(b) || tail >= 0 && n > tail {
			t.Errorf("%d entries of %d bytes, tail %d", n, len(b), tail)
		}
	})
}
