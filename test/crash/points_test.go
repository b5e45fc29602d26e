package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/sample"
)

// point is one disturbance of one verb.
type point struct {
	who  string // "" for root
	verb verb
	what string // kill, ENOSPC, EIO
	call int
}

func (p point) String() string {
	return fmt.Sprintf("%s%s, %s at call %d", p.who, p.verb.name, p.what, p.call)
}

// dose is how many points a verb gets when not all are taken.
type dose struct{ kill, failing int }

// scene is whose verbs are disturbed, and how many in a sample.
type scene struct {
	stream uint64
	who    string // in the names of points
	verbs  []verb
	owners []*account.Account // of the workers' stores
	dose   dose
	limit  time.Duration // of a sample
}

// TestDisturbed kills or fails each call of each verb, or a sample of them: 34 of each
// of six.
func TestDisturbed(t *testing.T) {
	needRoot(t)
	scene{stream: 3, verbs: verbs(), owners: make([]*account.Account, workers), dose: dose{16, 9}, limit: 200 * time.Second}.play(t)
}

func (c scene) play(t *testing.T) {
	t.Helper()
	rng := sample.Random(t, c.stream)
	base := t.TempDir()
	free := make(chan *account.Account, len(c.owners)) // nobody has two stores at once
	for _, a := range c.owners {
		free <- a
	}
	begin := time.Now()
	want, counts := c.counted(t, base, free)
	var all []point
	for i, v := range c.verbs {
		all = append(all, c.points(rng, v, counts[i])...)
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	limit, before := budget(c.limit), sample.OpenLedger(t)
	var tried, clean, known atomic.Int64
	sample.Parallel(t, len(c.owners), len(all), func(i int) error {
		if before.Has(all[i].String()) {
			known.Add(1)
			return nil
		}
		if time.Since(begin) > limit {
			return nil
		}
		tried.Add(1)
		owner := <-free
		defer func() { free <- owner }()
		dir := filepath.Join(base, strconv.Itoa(i))
		defer os.RemoveAll(dir)
		if err := all[i].try(owner, dir, want, i%2 == 0); err != nil {
			if owner != nil {
				owner.KillAll()
			}
			return fmt.Errorf("%s: %w", all[i], err)
		}
		clean.Add(1)
		return before.Clean(all[i].String())
	})
	t.Logf("%d of %d points tried in %v, %d of them clean; %d were before", tried.Load(), len(all), time.Since(begin).Round(time.Second), clean.Load(), known.Load())
}

// counted runs each verb undisturbed, after it has looked at the trees.
func (c scene) counted(t *testing.T, base string, free chan *account.Account) (want trees, counts []report) {
	t.Helper()
	h := newHub()
	defer h.close()
	owner := <-free
	s, err := storeOf(owner, filepath.Join(base, "trees"))
	if err == nil {
		want, err = s.trees(h)
	}
	if err = errors.Join(err, s.alone()); err != nil {
		t.Fatalf("%strees, undisturbed: %v", c.who, err)
	}
	free <- owner
	counts = make([]report, len(c.verbs))
	sample.Parallel(t, len(c.owners), len(c.verbs), func(i int) (err error) {
		owner, v := <-free, c.verbs[i]
		defer func() { free <- owner }()
		if counts[i], err = v.count(owner, filepath.Join(base, v.name), want); err != nil {
			return fmt.Errorf("%s%s, undisturbed: %w", c.who, v.name, err)
		}
		t.Logf("%s%s: %d calls that change something, %d of them files", c.who, v.name, counts[i].Calls, counts[i].Files)
		return nil
	})
	if t.Failed() {
		t.FailNow()
	}
	return want, counts
}

// points are those of a verb, or some.
func (c scene) points(rng *rand.Rand, v verb, counted report) (all []point) {
	for _, what := range []string{"kill", "ENOSPC", "EIO"} {
		of, some := counted.Files, c.dose.failing
		if what == "kill" {
			of, some = counted.Calls, c.dose.kill
		}
		order := rng.Perm(of)
		if !sample.Whole() {
			order = order[:min(some, of)]
		}
		for _, i := range order {
			all = append(all, point{c.who, v, what, i + 1})
		}
	}
	return all
}

// report is the tracer's.
type report struct {
	Calls, Files int
	Hit          string
	Exit         int
	Seen         []string
}

// begin is a store in which the verb can run.
func (v verb) begin(owner *account.Account, dir string) (store, *hub, error) {
	s, err := storeOf(owner, dir)
	if err != nil {
		return s, nil, err
	}
	h := newHub()
	if v.prepare != nil {
		if err := v.prepare(s, h); err != nil {
			h.close()
			return s, nil, fmt.Errorf("before: %w", err)
		}
	}
	return s, h, nil
}

// traced runs the verb under the tracer.
func (v verb) traced(s store, h *hub, what string, call int) (report, result, error) {
	file := filepath.Join(s.dir, "report")
	var rep report
	by := []string{tracer, "-ends"}
	if s.user != nil {
		by = append(by, "-as", fmt.Sprintf("%d:%d", s.user.UID, s.user.GID))
	}
	r := s.under(append(by, file, what, strconv.Itoa(call)), v.words(s, h)...)
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &rep)
	}
	if err != nil {
		return rep, r, fmt.Errorf("the tracer: %w: %s", err, r)
	}
	r.code = rep.Exit
	return rep, r, nil
}

// count runs the verb undisturbed.
func (v verb) count(owner *account.Account, dir string, want trees) (report, error) {
	s, h, err := v.begin(owner, dir)
	if err != nil {
		return report{}, err
	}
	defer h.close()
	rep, r, err := v.traced(s, h, "count", 0)
	if err == nil {
		err = r.err()
	}
	if err == nil && s.user != nil && len(rep.Seen) < 2 {
		err = errors.New("the tracer saw one process: not the one inside of the user's namespace")
	}
	if err != nil {
		return rep, err
	}
	got, err := s.named()
	if err == nil {
		err = fits(got, nil, v.after(h), true)
	}
	if err == nil {
		err = errors.Join(s.good(got, want), s.emptied(true), s.mounts(), s.alone())
	}
	return rep, err
}

// good looks at all images, and checks.
func (s store) good(got names, want trees) error {
	seen := map[string]bool{}
	for name, id := range got {
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := s.whole(name, want[id]); err != nil {
			return err
		}
	}
	return s.check()
}

// try disturbs the verb at the point and looks at what is left.
func (p point) try(owner *account.Account, dir string, want trees, byName bool) error {
	s, h, err := p.verb.begin(owner, dir)
	if err != nil {
		return err
	}
	defer h.close()
	rep, r, err := p.verb.traced(s, h, p.what, p.call)
	if err != nil {
		return err
	}
	if rep.Hit == "" {
		return errors.Join(r.err(), s.alone()) // this time it made fewer calls
	}
	err = p.ended(rep, r)
	if err == nil {
		err = p.look(s, h, r.code == 0, want)
	}
	if err == nil {
		if err = errors.Join(s.emptied(byName), s.mounts(), s.alone()); err != nil {
			err = fmt.Errorf("in the end: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: exit %d, said %.300q: %w", rep.Hit, r.code, r.errors, err)
	}
	return nil
}

// ended looks at how the disturbed command ended.
func (p point) ended(rep report, r result) error {
	if err := gone(rep.Seen); err != nil {
		return err
	}
	text := ""
	for line := range strings.Lines(r.errors) {
		if !strings.HasPrefix(line, "WARNING: ") { // what went on all the same
			text += line
		}
	}
	text = strings.TrimRight(text, "\n")
	switch {
	case r.code == -1:
		return errors.New("it hangs")
	case r.code != 0 && r.code != 137 && (text == "" || strings.Count(text, "\n") > 0):
		return errors.New("wanted one line that says why")
	case r.code == 137 && p.what != "kill":
		return errors.New("it was killed")
	}
	return nil
}

// look looks at what the disturbed command left, and does it again.
func (p point) look(s store, h *hub, acked bool, want trees) error {
	got, err := s.named()
	if err != nil {
		return err
	}
	before, after := p.verb.before(h), p.verb.after(h)
	if err := errors.Join(fits(got, before, after, acked), s.good(got, want)); err != nil {
		return err
	}
	again := s.do(p.verb.words(s, h)...)
	if again.code != 0 && (p.verb.again == nil || !p.verb.again(again)) {
		return fmt.Errorf("the second time: %s", again)
	}
	if got, err = s.named(); err != nil {
		return err
	}
	if err := errors.Join(fits(got, before, after, true), s.good(got, want)); err != nil {
		return fmt.Errorf("after the second time: %w", err)
	}
	return nil
}

// gone waits for processes to end.
func gone(seen []string) error {
	for _, one := range seen {
		pid, start, _ := strings.Cut(one, " ")
		ended := false
		for range 300 {
			data, err := os.ReadFile("/proc/" + pid + "/stat")
			fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
			if ended = err != nil || len(fields) < 20 || fields[19] != start || fields[0] == "Z" || fields[0] == "X"; ended {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !ended {
			data, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			return fmt.Errorf("process %s is left: %q", pid, data)
		}
	}
	return nil
}
