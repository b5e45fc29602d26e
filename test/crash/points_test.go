package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/sample"
)

// point is one disturbance of one verb.
type point struct {
	verb verb
	what string // kill, ENOSPC, EIO
	call int
}

func (p point) String() string { return fmt.Sprintf("%s, %s at call %d", p.verb.name, p.what, p.call) }

// perVerb is how many points a verb gets when not all are taken: 34 for each
// of six verbs.
var perVerb = []struct {
	what string
	n    int
}{{"kill", 16}, {"ENOSPC", 9}, {"EIO", 9}}

// trees are the trees of the images by their ids, as an undisturbed pull makes
// them.
type trees map[string]string

// TestDisturbed kills or fails each call of each verb, or a sample of them.
func TestDisturbed(t *testing.T) {
	needRoot(t)
	rng := sample.Random(t, 3)
	want := trees{}
	var all []point
	for _, v := range verbs() {
		calls, err := v.count(t, want)
		if err != nil {
			t.Fatalf("%s, undisturbed: %v", v.name, err)
		}
		t.Logf("%s: %d calls that change something, %d of them files", v.name, calls.Calls, calls.Files)
		for _, k := range perVerb {
			of := calls.Files
			if k.what == "kill" {
				of = calls.Calls
			}
			order := rng.Perm(of)
			if !sample.Whole() {
				order = order[:min(k.n, of)]
			}
			for _, i := range order {
				all = append(all, point{v, k.what, i + 1})
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	end := time.Now().Add(budget())
	before := sample.OpenLedger(t)
	var done, known atomic.Int64
	base := t.TempDir()
	sample.Parallel(t, workers, len(all), func(i int) error {
		if before.Has(all[i].String()) {
			known.Add(1)
			return nil
		}
		if sample.Whole() && time.Now().After(end) {
			return nil
		}
		done.Add(1)
		dir := filepath.Join(base, strconv.Itoa(i))
		defer os.RemoveAll(dir)
		if err := all[i].try(t, dir, want, i%2 == 0); err != nil {
			return fmt.Errorf("%s: %w", all[i], err)
		}
		return before.Clean(all[i].String())
	})
	t.Logf("%d of %d points, %d were clean before", done.Load(), len(all), known.Load())
}

// report is the tracer's.
type report struct {
	Calls, Files int
	Hit          string
	Exit         int
	Seen         []string
}

// begin is a store in which the verb can run.
func (v verb) begin(t *testing.T, dir string) (store, *hub, error) {
	s, h := newStore(t, dir), newHub()
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
	r := s.under([]string{tracer, "-ends", file, what, strconv.Itoa(call)}, v.words(s, h)...)
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

// count runs the verb undisturbed, and notes the trees.
func (v verb) count(t *testing.T, want trees) (report, error) {
	s, h, err := v.begin(t, t.TempDir())
	if err != nil {
		return report{}, err
	}
	defer h.close()
	rep, r, err := v.traced(s, h, "count", 0)
	if err == nil {
		err = r.err()
	}
	if err != nil {
		return rep, err
	}
	got, err := s.named()
	if err == nil {
		err = fits(got, nil, v.after(h), true)
	}
	for name, id := range got {
		if want[id] == "" && err == nil {
			want[id], err = s.tree(name)
		}
	}
	if err == nil {
		err = errors.Join(s.good(got, want), s.emptied(true), s.mounts())
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
func (p point) try(t *testing.T, dir string, want trees, byName bool) error {
	s, h, err := p.verb.begin(t, dir)
	if err != nil {
		return err
	}
	defer h.close()
	rep, r, err := p.verb.traced(s, h, p.what, p.call)
	if err != nil {
		return err
	}
	if rep.Hit == "" {
		return r.err() // this time it made fewer calls
	}
	err = p.ended(rep, r)
	if err == nil {
		err = p.look(s, h, r.code == 0, want)
	}
	if err == nil {
		if err = errors.Join(s.emptied(byName), s.mounts()); err != nil {
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
