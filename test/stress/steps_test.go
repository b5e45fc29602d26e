package stress

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
	"berth/test/sample"
)

// death is what test/stress/killer reports.
type death struct {
	Calls  []int
	Killed string
	Exit   int
	Seen   []string
}

// point is a call of one of the verb's processes: 0 is the runtime, 1 and
// more are the helpers that it starts.
type point struct{ process, call int }

// spare is how many calls more than counted are tried: how often the Go
// runtime looks for work, and how a read is cut into pieces, differs from run
// to run.
const spare = 5

// batch is how many points share one leak snapshot; stepWorkers of them are
// under way at the same time.
const (
	batch       = 120
	stepWorkers = 6
)

// TestKilledAtSteps kills the runtime, or a helper of it, at its first call,
// at its second, and so on to the last, each time in a new run of the verb.
// What is covered with BERTH_SWEEP=1: each system call of each verb in
// crashes, in each process that the verb starts until that executes the
// container's program, but for calls that nobody outside can tell from the
// next one (see the killer). Without it: one in twenty.
//
// After each kill the container must be removable, its name and bundle usable
// again, and nothing left: no cgroup, state folder, process that was seen,
// mount below the bundle. All kinds of things are compared by the leak
// snapshot, once for each batch of points.
func TestKilledAtSteps(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	rng := sample.Random(t, 1)
	killer, err := bundle.Build("test/stress/killer", "killer")
	if err != nil {
		t.Fatal(err)
	}
	all, reached := 0, 0
	for _, c := range crashes() {
		t.Run(c.verb, func(t *testing.T) {
			s := &stepper{crash: c, killer: killer, rt: rt, dir: t.TempDir(), bundles: make(chan *bundle.Bundle, stepWorkers)}
			for range stepWorkers {
				s.bundles <- bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			}
			points := s.points(t, rng)
			for part := range slices.Chunk(points, batch) {
				first := part[0]
				t.Run(fmt.Sprintf("%d-%d", first.process, first.call), func(t *testing.T) { s.batch(t, part) })
			}
			all, reached = all+len(points), reached+s.reached
			t.Logf("%d points, killed at %d", len(points), s.reached)
			// A run with fewer calls does not reach the last ones.
			if sample.Whole() && s.reached < s.least*9/10 {
				t.Errorf("only %d of %d points were reached, and no run makes fewer calls than %d", s.reached, len(points), s.least)
			}
		})
	}
	t.Logf("%d points, killed at %d", all, reached)
}

// stepper plays one verb.
type stepper struct {
	crash
	killer  string
	rt      *bundle.Runtime
	dir     string
	bundles chan *bundle.Bundle
	least   int // calls of all processes in the shortest run
	reached int
	count   int
	mu      sync.Mutex
}

// points counts the calls of three undisturbed runs and lists those to kill
// at.
func (s *stepper) points(t *testing.T, rng *rand.Rand) []point {
	var calls []int
	for range 3 {
		b := <-s.bundles
		d, err := s.at(b, point{-1, 0})
		s.bundles <- b
		if err != nil {
			t.Fatalf("not killed: %v", err)
		}
		sum := 0
		for i, n := range d.Calls {
			sum += n
			if i == len(calls) {
				calls = append(calls, 0)
			}
			calls[i] = max(calls[i], n)
		}
		if s.least == 0 || sum < s.least {
			s.least = sum
		}
	}
	t.Logf("calls of each process: %v", calls)
	var points []point
	for process, n := range calls {
		for call := 1; call <= n+spare; call++ {
			if sample.Whole() || rng.IntN(20) == 0 {
				points = append(points, point{process, call})
			}
		}
	}
	return points
}

func (s *stepper) batch(t *testing.T, points []point) {
	leak.Check(t, s.rt.Root)
	next := make(chan point)
	var wg sync.WaitGroup
	for range stepWorkers {
		wg.Go(func() {
			b := <-s.bundles
			defer func() { s.bundles <- b }()
			for p := range next {
				d, err := s.at(b, p)
				if err != nil {
					t.Errorf("process %d of %s, call %d, %s: %v", p.process, s.verb, p.call, d.Killed, err)
				}
				if d.Killed != "" {
					s.mu.Lock()
					s.reached++
					s.mu.Unlock()
				}
			}
		})
	}
	for _, p := range points {
		next <- p
	}
	close(next)
	wg.Wait()
}

// at plays the verb with the kill at one point, and checks what is after it.
func (s *stepper) at(b *bundle.Bundle, p point) (d death, err error) {
	s.mu.Lock()
	s.count++
	path := filepath.Join(s.dir, fmt.Sprint(s.count))
	s.mu.Unlock()
	var id string
	err = s.killed(s.rt, b, func(cmd *exec.Cmd) error {
		id = cmd.Args[len(cmd.Args)-1]
		if slices.Contains(cmd.Args, "exec") {
			id = cmd.Args[len(cmd.Args)-3]
		}
		words := append([]string{path, fmt.Sprint(p.process), fmt.Sprint(p.call)}, cmd.Args...)
		traced := exec.Command(s.killer, words...)
		traced.SysProcAttr = cmd.SysProcAttr
		res := s.rt.Finish(traced)
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &d)
		}
		if err != nil || res.Code != 0 {
			return fmt.Errorf("killer: %v: %s", err, res)
		}
		return s.said(d, p, res)
	})
	if err != nil {
		s.rt.Do("delete", "--force", id) // so that the other points have a chance
		return d, err
	}
	return d, s.left(b, id, d)
}

// said checks what the runtime does about a helper that is killed: it ends by
// itself, and an error is one line.
func (s *stepper) said(d death, p point, res bundle.Result) error {
	text := strings.TrimRight(res.Stderr, "\n")
	switch {
	case p.process < 1 || d.Killed == "":
		return nil
	case d.Exit == -1 || d.Exit > 128 && d.Exit != 137 && d.Exit != 255: // 255: an exec that fails
		return fmt.Errorf("the runtime hangs or dies of it: exit %d: %s", d.Exit, res)
	case strings.Contains(text, "\n") || d.Exit != 0 && d.Exit != 137 && text == "":
		return fmt.Errorf("want one line: exit %d: %s", d.Exit, res)
	}
	return nil
}

// left are the cheap looks for what a point has left behind.
func (s *stepper) left(b *bundle.Bundle, id string, d death) error {
	if left := traces(s.rt, b, id); len(left) > 0 {
		return fmt.Errorf("left behind: %q", left)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), b.Dir+"/") {
		return fmt.Errorf("a mount below the bundle is left")
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		alive := slices.DeleteFunc(slices.Clone(d.Seen), func(seen string) bool { return !lives(seen) })
		if len(alive) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes are left: %q", alive)
		}
	}
}

// lives tells whether a process with that pid and start time runs.
func lives(seen string) bool {
	pid, start, _ := strings.Cut(seen, " ")
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:])) // field 3 on
	return len(fields) > 19 && fields[19] == start && fields[0] != "Z" && fields[0] != "X"
}
