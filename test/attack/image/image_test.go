// Package image attacks berth with images as a stranger would: hostile layers by
// pull, load and import, archives and registries that lie, configurations that
// are none of ours. Each time the command ends with one line that says what is
// wrong and where, nothing outside the store has changed, the store is as it
// was, and the next command works.
//
// It belongs to the tests, outside the rows.
package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/leak"
)

var berth string

func TestMain(m *testing.M) {
	if berth = os.Getenv("BERTH"); berth == "" {
		berth = "../../../bin/berth"
	}
	var err error
	if berth, err = filepath.Abs(berth); err == nil {
		_, err = os.Stat(berth)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "the program under test is missing: %v (run make, or set BERTH)\n", err)
		os.Exit(1)
	}
	if os.Getuid() != 0 || os.Getenv("BERTH_GUARD_OFF") != "" {
		os.Exit(m.Run()) // an attack that succeeds may well leave something
	}
	os.Exit(leak.Main(m, leak.Config{}))
}

// place is a store of its own beside a folder that nobody may touch.
type place struct{ dir string }

func newPlace(t *testing.T) place {
	t.Helper()
	// Not t.TempDir: a test's name may hold what overlay's options cannot.
	dir, err := os.MkdirTemp("", "attack-image")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := place{dir}
	for _, d := range []string{"etc", "home", "root", "run", "canary"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.write(t, "canary/f", "canary")
	return p
}

func (p place) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

type result struct {
	code        int
	out, errors string
	took        time.Duration
}

// patience is for a loaded machine: what hangs is found all the same.
const patience = 2 * time.Minute

func (p place) do(t *testing.T, stdin []byte, words ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args := append([]string{"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run")}, words...)
	// Its size says nothing: until it is executed it has the memory of this test.
	limited := fmt.Sprintf(`ulimit -d %d && exec "$@"`, mostMemory>>10)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", limited, "sh", berth}, args...)...)
	cmd.Dir, cmd.WaitDelay = p.dir, time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BERTH_ETC=" + filepath.Join(p.dir, "etc"), "HOME=" + filepath.Join(p.dir, "home"),
		"XDG_RUNTIME_DIR=" + filepath.Join(p.dir, "home"), "TMPDIR=" + p.dir + "/run"}
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	r := result{out: out.String(), errors: errs.String(), took: time.Since(began)}
	if ctx.Err() != nil {
		t.Fatalf("berth %v hangs: %s", words, r.errors)
	}
	if err != nil {
		r.code = cmd.ProcessState.ExitCode()
	}
	return r
}

// mostMemory is the data that a command and each of its processes may have,
// whatever they are given; with more they would end in a panic of many lines.
const mostMemory = 192 << 20

// refused looks at the end of a command that had to fail.
func (r result) refused(t *testing.T, says string) {
	t.Helper()
	text := strings.TrimSuffix(r.errors, "\n")
	switch {
	case r.code == 0:
		t.Errorf("it ended well: %.300s", r.out)
	case r.code < 0 || r.code > 127:
		t.Errorf("it ended with %d: %.300s", r.code, r.errors)
	case text == "" || strings.Contains(text, "\n"):
		t.Errorf("wanted one line: %.600q", text)
	case len(text) > 4000:
		t.Errorf("a line of %d bytes: %.300q", len(text), text)
	case !strings.Contains(text, says):
		t.Errorf("it says %.600q, wanted %q in it", text, says)
	}
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			t.Errorf("a control character in %.600q", text)
			break
		}
	}
}

// well looks at a command that had to end well.
func (r result) well(t *testing.T) {
	t.Helper()
	if r.code != 0 {
		t.Errorf("exit %d: %.600s", r.code, r.errors)
	}
}

// untouched looks at what is beside the store.
func (p place) untouched(t *testing.T) {
	t.Helper()
	if damage := p.changed(); damage != "" {
		t.Error(damage)
	}
}

// changed tells what is not as it was beside the store, or is empty.
func (p place) changed() string {
	var got []string
	err := filepath.WalkDir(filepath.Join(p.dir, "canary"), func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		got = append(got, fmt.Sprintf("%s %o %d", d.Name(), st.Mode, st.Size))
		return err
	})
	if want := "[canary 40755 4096 f 100600 6]"; err != nil || fmt.Sprint(got) != want && len(got) != 2 {
		return fmt.Sprintf("beside the store: %v, %v", got, err)
	}
	if data, err := os.ReadFile(filepath.Join(p.dir, "canary/f")); err != nil || string(data) != "canary" {
		return fmt.Sprintf("the canary says %q, %v", data, err)
	}
	names, err := os.ReadDir(p.dir)
	if err != nil || len(names) != 5 {
		return fmt.Sprintf("beside the store: %v, %v", names, err)
	}
	return ""
}

// empty wants a store that has nothing, and nothing wrong.
func (p place) empty(t *testing.T) {
	t.Helper()
	if r := p.do(t, nil, "images", "-aq"); r.code != 0 || r.out+r.errors != "" {
		t.Errorf("images: exit %d: %s%s", r.code, r.out, r.errors)
	}
	r := p.do(t, nil, "image", "prune", "-af")
	r.well(t)
	if r := p.do(t, nil, "check"); r.code != 0 {
		t.Errorf("check: exit %d: %s%s", r.code, r.out, r.errors)
	}
	for _, at := range []string{"snapshots/d", "content/blobs/sha256"} {
		if names, err := os.ReadDir(filepath.Join(p.dir, "root", at)); err == nil && len(names) > 0 {
			t.Errorf("%s has %v", at, names)
		}
	}
}
