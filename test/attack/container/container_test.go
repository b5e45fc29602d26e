// Package container attacks containers of `berth run`, from inside and from beside,
// class by class as docs/threats.md numbers them; docs/attacks.md lists them. The
// parent package does the same to bundles of berth-oci, package image with images.
//
// Each attack has a control: the same deed where less stands in its way, on which it
// must succeed. That is a weaker configuration (TestControls), or a program with the
// guard compiled out (test/guards). make test plays a part of what is repeated,
// BERTH_SWEEP=1 all of it. It belongs to the tests, outside the rows.
package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/netns"
	"berth/test/sample"
)

// attack tries something on a world and tells what it got: empty when it failed.
type attack struct {
	name    string // class, then what is attacked
	try     func(w *world) (damage string)
	control func(w *world) (damage string) // must succeed
	guard   string                         // build tag without which try must succeed
	alone   bool                           // it needs the host's network as it is
}

func attacks() []attack {
	var all []attack
	for _, list := range [][]attack{
		kernelAttacks(), privilegeAttacks(), besideAttacks(), networkAttacks(),
		helperAttacks(), pathAttacks(), copyAttacks(), configAttacks(), hostAttacks(),
	} {
		all = append(all, list...)
	}
	return all
}

func TestMain(m *testing.M) { os.Exit(netns.Main(func() int { defer forget(); return m.Run() })) }

func TestAttacks(t *testing.T) {
	netns.Need(t)
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			if !a.alone {
				t.Parallel()
			}
			if damage := a.try(newWorld(t)); damage != "" {
				t.Errorf("escaped: %s", damage)
			}
		})
	}
}

// TestControls holds that the attacks work where less stops them: a third of them,
// another one each time, and all in a sweep.
func TestControls(t *testing.T) {
	netns.Need(t)
	third := sample.Random(t, 1).IntN(3)
	for i, a := range attacks() {
		if i%3 != third && !sample.Whole() {
			continue
		}
		if a.control == nil {
			if a.guard == "" {
				t.Errorf("%s has no control", a.name)
			}
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			if !a.alone {
				t.Parallel()
			}
			damage := a.control(newWorld(t))
			if damage == "" {
				t.Errorf("the attack does not succeed without the guard, so it proves nothing")
			}
			t.Logf("given up: %.300s", damage)
		})
	}
}

// TestGuardList holds that test/guards/guards.txt names every guard that an attack
// relies on, with that attack.
func TestGuardList(t *testing.T) {
	data, err := os.ReadFile("../../guards/guards.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks() {
		if a.guard != "" && !listed(string(data), a.guard, "container/TestAttacks/"+a.name) {
			t.Errorf("guards.txt has no line %q", a.guard+" container/TestAttacks/"+a.name)
		}
	}
}

func listed(text, tag, test string) bool {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == tag && f[1] == test {
			return true
		}
	}
	return false
}

// place is the store that all tests share, with the image `box`.
type place struct {
	bin, root, run, etc string
	env                 []string
	above               []string // folders that have them
}

// where is made by the first test that asks; forget removes it.
var where struct {
	sync.Mutex
	*place
}

// world is the place, for one test: its containers go with it.
type world struct {
	*testing.T
	*place
	containers []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	where.Lock()
	defer where.Unlock()
	if where.place == nil {
		where.place = newPlace(t)
	}
	w := &world{T: t, place: where.place}
	t.Cleanup(w.removeAll)
	return w
}

// removeAll removes the test's containers.
func (w *world) removeAll() {
	if len(w.containers) > 0 {
		w.must(append([]string{"rm", "-f"}, w.containers...)...)
	}
	w.containers = nil
}

var names atomic.Int64

// fresh is a name that nothing has.
func fresh(word string) string { return fmt.Sprintf("%s%d", word, names.Add(1)) }

func newPlace(t *testing.T) *place {
	t.Helper()
	bin := os.Getenv("BERTH")
	if bin == "" {
		bin = "../../../bin/berth"
	}
	bin, err := filepath.Abs(bin)
	if err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	p := &place{bin: bin}
	for _, f := range []struct {
		to  *string
		dir string
	}{{&p.root, ""}, {&p.run, "/run"}, {&p.etc, ""}} {
		above, err := os.MkdirTemp(f.dir, "attack")
		if err == nil {
			err = os.Chmod(above, 0o755) // berth's own folder is what keeps others out
		}
		if err != nil {
			t.Fatal(err)
		}
		p.above = append(p.above, above)
		*f.to = filepath.Join(above, "b")
	}
	p.env = append(os.Environ(), "BERTH_ROOT="+p.root, "BERTH_RUN="+p.run, "BERTH_ETC="+p.etc, "HOME="+p.etc)
	w := &world{T: t, place: p}
	w.image("box", []entry{{name: "bin/node", text: node, mode: 0o755}})
	return p
}

// forget removes the place. What follows the end of a container may be under way, and
// makes folders anew.
func forget() {
	if where.place == nil {
		return
	}
	for _, dir := range where.above {
		for gone, end := 0, time.Now().Add(20*time.Second); gone < 4 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if !exists(dir) {
				gone++
				continue
			}
			gone = 0
			_ = os.RemoveAll(dir)
		}
		if exists(dir) {
			fmt.Fprintln(os.Stderr, "left behind:", dir)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// outcome of a command.
type outcome struct {
	out, errors string
	code        int
	took        time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %d: %.1000s%.1000s", o.code, o.out, o.errors)
}

// longest is what no command may take, on a loaded machine.
const longest = 90 * time.Second

// cmd is a command of berth.
func (w *world) cmd(words ...string) *exec.Cmd {
	c := exec.Command(w.bin, words...)
	c.Env, c.WaitDelay = w.env, time.Second
	return c
}

func (w *world) finish(c *exec.Cmd) outcome {
	w.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	began := time.Now()
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	timer := time.AfterFunc(longest, func() { _ = c.Process.Kill() })
	_ = c.Wait()
	o := outcome{strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), c.ProcessState.ExitCode(), time.Since(began)}
	if !timer.Stop() {
		w.Fatalf("%v hangs: %s", c.Args, o)
	}
	return o
}

func (w *world) try(words ...string) outcome { w.Helper(); return w.finish(w.cmd(words...)) }

func (w *world) must(words ...string) string {
	w.Helper()
	o := w.try(words...)
	if o.code != 0 {
		w.Fatalf("berth %s: %s", strings.Join(words, " "), o)
	}
	return o.out
}

// once runs a program in a new container without a network.
func (w *world) once(options []string, words ...string) outcome {
	w.Helper()
	return w.try(append(append([]string{"run", "--rm", "--network", "none"}, options...), words...)...)
}

// up starts a container that stays and gives its name; options come before the image.
func (w *world) up(options ...string) string {
	w.Helper()
	if !strings.Contains(strings.Join(options, " "), "--network") {
		options = append([]string{"--network", "none"}, options...)
	}
	return w.upOf(append(options, "box")...)
}

// upOf has the image among the words.
func (w *world) upOf(words ...string) string {
	w.Helper()
	name := fresh("c")
	w.must(append(append([]string{"run", "-d", "--name", name}, words...), "/bin/sleep", "1000")...)
	w.containers = append(w.containers, name)
	return name
}

// in runs a program in a container that is up.
func (w *world) in(name string, words ...string) outcome {
	w.Helper()
	return w.try(append([]string{"exec", name}, words...)...)
}

// ask is inspect with a template.
func (w *world) ask(name, template string) string {
	w.Helper()
	return w.must("inspect", "-f", template, name)
}

// eventually waits until something is so, 10 seconds at most.
func eventually(so func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return so()
}
