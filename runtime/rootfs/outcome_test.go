package rootfs_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

type outcome struct {
	out   string // stdout and stderr of the script
	err   string // of planning, opening or the helper
	errno unix.Errno
	exit  unix.WaitStatus
}

// want fails unless the script ended well and every line is in its output.
func (o *outcome) want(t testing.TB, lines ...string) {
	t.Helper()
	if o.err != "" || o.exit.ExitStatus() != 0 {
		t.Fatalf("error %q, exit %#x\n%s", o.err, o.exit, o.out)
	}
	for _, l := range lines {
		if !strings.Contains("\n"+o.out, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, o.out)
		}
	}
}

// refused fails unless something failed with a text that has all parts.
func (o *outcome) refused(t testing.TB, parts ...string) {
	t.Helper()
	if o.err == "" {
		t.Fatalf("nothing failed; output\n%s", o.out)
	}
	if strings.Contains(o.err, "\n") {
		t.Errorf("error has more than one line: %q", o.err)
	}
	for _, p := range parts {
		if !strings.Contains(o.err, p) {
			t.Errorf("error %q lacks %q", o.err, p)
		}
	}
}

// mounts is the container's mountinfo by mount point; the last mount counts.
type mountLine struct{ root, options, tags, fs, source, super string }

func (o *outcome) mounts(t testing.TB) map[string]mountLine {
	t.Helper()
	o.want(t)
	m := map[string]mountLine{}
	for line := range strings.SplitSeq(o.out, "\n") {
		f := strings.Fields(line)
		if len(f) < 9 {
			continue
		}
		l := mountLine{root: f[3], options: f[5]}
		i := 6
		for ; f[i] != "-"; i++ {
			l.tags += f[i] + " "
		}
		l.fs, l.source, l.super = f[i+1], f[i+2], f[i+3]
		m[f[4]] = l
	}
	return m
}
