// Package container uses berth's verbs on containers very often, several at a
// time, and against each other; what a container does to spite its engine is
// here too. Each time nothing may be left behind and the next command must work.
//
// By default it takes a twentieth of each count; with BERTH_SWEEP=1 everything.
// It runs as root in a network namespace of its own, with $BERTH or bin/berth. It
// belongs to the tests, outside the rows.
package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"berth/test/berth"
	"berth/test/leak"
	"berth/test/netns"
	"berth/test/sample"
)

func TestMain(m *testing.M) {
	os.Exit(netns.Main(func() int {
		if os.Getuid() != 0 {
			return m.Run()
		}
		return leak.Main(m, leak.Config{})
	}))
}

// store is an empty store that has been used once, so that what is made for all
// and kept is there: the image, the default bridge, the folders of networks and their names, the firewall. The test fails
// if it leaves more behind.
func store(t *testing.T) *berth.Berth {
	t.Helper()
	netns.Need(t)
	if out, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err, out)
	}
	b := berth.New(t)
	b.Must(t, "run", "--rm", "-v", "/bin/busybox:/busybox:ro", "-p", "127.0.0.1::80", "berth/base", "true")
	b.Must(t, "network", "create", "used")
	b.Must(t, "run", "--rm", "--network", "used", "berth/base", "true")
	b.Must(t, "network", "rm", "used")
	cfg := leak.Config{Folders: []string{b.Dir, b.Run}}
	before, err := leak.Take(cfg)
	if err != nil {
		t.Fatal(err)
	}
	links, err := netns.LinksWithout("ve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Exits stay known for five minutes.
		for _, e := range glob(b.Run + "/exits/*") {
			_ = os.Remove(e)
		}
		_ = os.Remove(b.Run + "/exits/.looked")
		lines, err := leak.Compare(cfg, before, leak.Settle)
		if err != nil {
			t.Error(err)
		}
		// What the firewall still has of containers that are gone is swept at 50, under a
		// lock; many containers have an index.
		lines = slices.DeleteFunc(lines, func(l string) bool {
			return slices.ContainsFunc([]string{"/exits/.looked", "/network/gone", "/network/locks/sweep", "/containers.index"}, func(file string) bool { return strings.Contains(l, file) })
		})
		if n := len(glob(b.Run + "/network/gone/*")); n > 50+workers {
			t.Errorf("the firewall keeps elements of %d containers that are gone", n)
		}
		lines = append(lines, b.Cgroups()...)
		for i, l := range lines {
			if i == 40 {
				t.Errorf("… and %d more", len(lines)-i)
				break
			}
			t.Error("left behind: ", l)
		}
		if now, err := netns.Links(); err != nil || !slices.Equal(now, links) {
			t.Errorf("links are %q, were %q: %v", now, links, err)
		}
		if r := b.Do("check"); r.Code != 0 {
			t.Error(r)
		}
	})
	return b
}

func glob(pattern string) []string {
	all, _ := filepath.Glob(pattern)
	return all
}

// workers is how many commands run at the same time.
const workers = 8

// nets are the two networks that most containers have.
var nets = []string{"none", "bridge"}

func TestThousandRuns(t *testing.T) {
	b := store(t)
	sample.Parallel(t, workers, sample.Rounds(1000), func(i int) error {
		r := b.Do("run", "--rm", "--network", nets[i%2], "berth/base", "sh", "-c", fmt.Sprintf("echo out %d; exit %d", i, i%100))
		if r.Code != i%100 || r.Out != fmt.Sprintf("out %d\n", i) || r.Errors != "" {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
}

func TestThousandExecs(t *testing.T) {
	b := store(t)
	b.Must(t, "run", "-d", "--name", "one", "--network", "none", "berth/base", "sleep", "100000")
	sample.Parallel(t, workers, sample.Rounds(1000), func(i int) error {
		r := b.Do("exec", "one", "sh", "-c", fmt.Sprintf("echo out %d; echo err >&2; exit %d", i, i%100))
		if r.Code != i%100 || r.Out != fmt.Sprintf("out %d\n", i) || r.Errors != "err\n" {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
	if out := b.Must(t, "top", "one", "-eo", "args"); strings.Count(out, "\n") != 1 {
		t.Errorf("processes are left in the container:\n%s", out)
	}
	b.Must(t, "rm", "-f", "one")
}

// failures are ways for a start to fail, and the exit code of `run`.
var failures = []struct {
	code  int
	words []string
}{
	{127, []string{"--network", "none", "berth/base", "/no-such-program"}},
	{127, []string{"--network", "bridge", "berth/base", "/no-such-program"}},
	{126, []string{"--network", "none", "berth/base", "/etc"}},
	{125, []string{"--network", "none", "-v", "/no/such/folder:/x:ro", "--mount", "type=bind,src=/no/such/place,dst=/y", "berth/base", "true"}},
	{127, []string{"--network", "bridge", "--sysctl", "net.ipv4.no_such_thing=1", "berth/base", "true"}},
	{125, []string{"--network", "container:nobody", "berth/base", "true"}},
	{125, []string{"--network", "bridge", "-v", "/tmp:/proc/x", "berth/base", "true"}},
	{125, []string{"--network", "none", "--user", "nobody-here", "berth/base", "true"}},
	{125, []string{"--network", "bridge", "-p", "127.0.0.1:65000:80", "berth/base", "true"}}, // somebody has it
	{125, []string{"--network", "none", "no.such.registry.invalid/image", "true"}},
}

func TestThousandFailedStarts(t *testing.T) {
	b := store(t)
	l, err := net.Listen("tcp", "127.0.0.1:65000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sample.Parallel(t, workers, max(sample.Rounds(1000), 2*len(failures)), func(i int) error {
		f := failures[i%len(failures)]
		words := []string{"run", "--pull", "never"}
		name := ""
		switch i / len(failures) % 3 {
		case 0:
			words = append(words, "--rm")
		case 1:
			words = append(words, "--rm", "-d")
		case 2: // it stays, as a container that never ran
			name = fmt.Sprintf("failed%d", i)
			words = append(words, "--name", name)
		}
		r := b.Do(append(words, f.words...)...)
		if r.Code != f.code || r.Errors == "" {
			return fmt.Errorf("want exit code %d: %s", f.code, r)
		}
		if name != "" {
			r = b.Do("rm", "-v", name)
			if r.Code != 0 && !strings.Contains(r.Errors, "No such container") {
				return r.Err()
			}
		}
		return nil
	})
}

func TestThousandStarts(t *testing.T) {
	b := store(t)
	var names []string
	for i := range workers {
		names = append(names, fmt.Sprintf("life%d", i))
		b.Must(t, "create", "--name", names[i], "--network", nets[i%2], "berth/base", "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 1000 & wait; done")
	}
	locks := make([]sync.Mutex, workers)
	sample.Parallel(t, workers, sample.Rounds(1000), func(i int) error {
		k := i % workers
		locks[k].Lock()
		defer locks[k].Unlock()
		if err := b.Do("start", names[k]).Err(); err != nil {
			return err
		}
		if i%3 == 0 {
			return b.Do("restart", "-t", "0", names[k]).Err()
		}
		return b.Do("stop", "-t", "0", names[k]).Err()
	})
	b.Must(t, append([]string{"rm", "-f"}, names...)...)
}

// TestThousandCopies: files go into a container that runs and into one that does
// not, to each root and volume, from one to the other, and come back as they were;
// one that is not there is told in a line.
func TestThousandCopies(t *testing.T) {
	b := store(t)
	b.Must(t, "run", "-d", "--name", "runs", "--network", "none", "-v", "/data", "berth/base", "sleep", "100000")
	b.Must(t, "create", "--name", "rests", "--network", "none", "-v", "/data", "berth/base", "true")
	work := t.TempDir()
	sample.Parallel(t, workers, sample.Rounds(1000), func(i int) error {
		name := fmt.Sprintf("file%d", i)
		here, back := filepath.Join(work, name), filepath.Join(work, name+"-back")
		text := strings.Repeat(name+"\n", 1+i%5*1000)
		if err := os.WriteFile(here, []byte(text), 0o640); err != nil {
			return err
		}
		at := []string{"runs:/", "rests:/", "runs:/data/", "rests:/data/"}
		first, second := at[i%4]+name, at[(i+1+i/4%3)%4]+name
		steps := [][]string{{here, first}, {first, back}}
		if i%2 == 0 {
			steps = [][]string{{here, first}, {first, second}, {second, back}}
		}
		for _, s := range steps {
			if err := b.Do("cp", s[0], s[1]).Err(); err != nil {
				return err
			}
		}
		if got, err := os.ReadFile(back); err != nil || string(got) != text {
			return fmt.Errorf("%q came back with %d bytes, had %d: %v", steps, len(got), len(text), err)
		}
		r := b.Do("cp", first+"-none", back+"-none")
		if _, err := os.Lstat(back + "-none"); r.Code != 1 || strings.Count(r.Errors, "\n") != 1 || err == nil {
			return fmt.Errorf("of a file that is not there: %s", r)
		}
		return errors.Join(os.Remove(here), os.Remove(back))
	})
	b.Must(t, "rm", "-f", "-v", "runs", "rests")
}

// TestVolumesComeAndGo: anonymous volumes of containers that go at their end go
// with them; named ones stay.
func TestVolumesComeAndGo(t *testing.T) {
	b := store(t)
	sample.Parallel(t, workers, sample.Rounds(400), func(i int) error {
		r := b.Do("run", "--rm", "--network", "none", "-v", "/data", "-v", "kept:/kept", "berth/base", "sh", "-c", "echo x > /data/x; echo x > /kept/"+strconv.Itoa(i))
		return r.Err()
	})
	if out := b.Must(t, "volume", "ls", "-q"); out != "kept" {
		t.Errorf("volumes are left: %q", out)
	}
	b.Must(t, "volume", "rm", "kept")
}
