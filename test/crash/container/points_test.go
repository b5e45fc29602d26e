package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/berth"
	"berth/test/netns"
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

// perVerb is how many points a verb gets when not all are taken.
var perVerb = []struct {
	what string
	n    int
}{{"kill", 7}, {"ENOSPC", 2}, {"EIO", 2}}

// perSlowVerb is that of a verb on networks or of an ordinary user.
var perSlowVerb = []struct {
	what string
	n    int
}{{"kill", 5}, {"ENOSPC", 1}, {"EIO", 1}}

// report is the tracer's.
type report struct {
	Calls, Files int
	Hit, Of      string
	Exit         int
	Seen         []string
}

// scene is whose verbs are disturbed, and where.
type scene struct {
	stream uint64
	who    string // in the names of points
	verbs  []verb
	pick   func(*rand.Rand, []verb) []verb // the verbs of a sample; nil takes all
	place  func(worker int, dir string) (*place, error)
	// workers is how many places are in work at once.
	workers int
}

// TestDisturbed kills or fails each call of each verb, or a sample of them.
func TestDisturbed(t *testing.T) {
	netns.Need(t)
	scene{stream: 7, verbs: verbs(), workers: workers, place: func(_ int, dir string) (*place, error) { return newPlace(dir) }}.play(t)
}

func (s scene) play(t *testing.T) {
	t.Helper()
	rng := sample.Random(t, s.stream)
	begin := time.Now()
	var all []point
	if one := os.Getenv("BERTH_CRASH_POINT"); one != "" {
		all = s.chosen(t, one)
	} else {
		these := s.asked(t, rng)
		counts := s.counted(t, these)
		for i, v := range these {
			all = append(all, v.points(rng, counts[i], s.who != "")...)
		}
	}
	for i := range all {
		all[i].who = s.who
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	limit := budget()
	if s.pick != nil && !sample.Whole() { // however slow the counting was, some are tried
		begin, limit = time.Now(), 45*time.Second
	}
	before := sample.OpenLedger(t)
	var tried, clean, known atomic.Int64
	s.inPlaces(t, len(all), func(p *place, i int) error {
		if before.Has(all[i].String()) {
			known.Add(1)
			return nil
		}
		if time.Since(begin) > limit {
			return nil
		}
		tried.Add(1)
		if err := all[i].try(p); err != nil {
			return fmt.Errorf("%s: %w", all[i], err)
		}
		clean.Add(1)
		return before.Clean(all[i].String())
	})
	t.Logf("%d of %d points tried in %v, %d of them clean; %d were before", tried.Load(), len(all), time.Since(begin).Round(time.Second), clean.Load(), known.Load())
}

// asked are the verbs of this run.
func (s scene) asked(t *testing.T, rng *rand.Rand) []verb {
	t.Helper()
	names := strings.FieldsFunc(os.Getenv("BERTH_CRASH_VERBS"), func(r rune) bool { return r == ',' })
	if len(names) == 0 && s.pick != nil && !sample.Whole() {
		return s.pick(rng, s.verbs)
	}
	if len(names) == 0 {
		return s.verbs
	}
	var out []verb
	for _, name := range names {
		out = append(out, s.named(t, name))
	}
	return out
}

func (s scene) named(t *testing.T, name string) verb {
	t.Helper()
	i := slices.IndexFunc(s.verbs, func(v verb) bool { return v.name == name })
	if i < 0 {
		t.Fatalf("no verb %s", name)
	}
	return s.verbs[i]
}

// chosen is one point, ten times.
func (s scene) chosen(t *testing.T, words string) []point {
	t.Helper()
	var name string
	var x point
	if _, err := fmt.Sscanf(words, "%s %s %d", &name, &x.what, &x.call); err != nil {
		t.Fatal(err)
	}
	x.verb = s.named(t, name)
	return slices.Repeat([]point{x}, 10)
}

// counted runs each verb undisturbed.
func (s scene) counted(t *testing.T, these []verb) []report {
	t.Helper()
	out := make([]report, len(these))
	s.inPlaces(t, len(these), func(p *place, i int) (err error) {
		if out[i], err = s.count(p, &these[i]); err != nil {
			return fmt.Errorf("%s, undisturbed: %w", these[i].name, err)
		}
		t.Logf("%s: %d calls that others can see, %d of them on files", these[i].name, out[i].Calls, out[i].Files)
		return nil
	})
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// count counts the calls of one; what follows is a point's business too, so that a sample
// of a part of the verbs does not look at it here.
func (s scene) count(p *place, v *verb) (report, error) {
	if err := v.begin(p); err != nil {
		return report{}, err
	}
	rep, r, err := v.traced(p, "count", 0)
	if err == nil {
		err = r.Err()
	}
	if err == nil && p.user != nil && len(rep.Seen) < 2 {
		err = errors.New("the tracer saw one process: not the one inside of the user's namespace")
	}
	if err == nil && (s.pick == nil || sample.Whole()) {
		err = v.after(p)
	} else if err == nil {
		err = v.inTheEnd(p)
	}
	if err == nil {
		err = p.clean()
	}
	return rep, err
}

func (v *verb) points(rng *rand.Rand, counted report, slow bool) (all []point) {
	some := perVerb
	if v.ofNetwork() || slow {
		some = perSlowVerb
	}
	for _, k := range some {
		of := counted.Files
		if k.what == "kill" {
			of = counted.Calls
		}
		order := rng.Perm(of)
		if !sample.Whole() {
			order = order[:min(k.n, of)]
		}
		for _, i := range order {
			all = append(all, point{verb: *v, what: k.what, call: i + 1})
		}
	}
	return all
}

// traced runs the verb under the tracer.
func (v *verb) traced(p *place, what string, call int) (report, berth.Result, error) {
	file := filepath.Join(p.Dir, "report")
	var rep report
	by := []string{tracer}
	if p.user != nil {
		by = append(by, "-as", fmt.Sprintf("%d:%d", p.user.UID, p.user.GID))
	}
	r := p.Under(append(by, file, what, strconv.Itoa(call)), v.words...)
	p.Note()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &rep)
	}
	if err != nil {
		return rep, r, fmt.Errorf("the tracer: %w: %s", err, r)
	}
	r.Code = rep.Exit
	return rep, r, os.Remove(file)
}

// patience is what one point may take, of 2 s or so: more, and something waited for
// one that is dead.
const patience = 45 * time.Second

// try disturbs the verb at the point and looks at what is left.
func (x point) try(p *place) error {
	begin := time.Now()
	if err := x.verb.begin(p); err != nil {
		return err
	}
	rep, r, err := x.verb.traced(p, x.what, x.call)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	if rep.Hit != "" { // else it made fewer calls this time
		err = x.ended(r)
	}
	// A user's berth is two processes, outside and inside of the namespace.
	own := rep.Hit == "" || strings.Contains(rep.Hit, "of process 0 of") || p.user != nil && strings.HasPrefix(rep.Of, p.Program+" ")
	if err == nil && (r.Out != "" || r.Code == 0) && x.verb.done != nil && own {
		err = x.verb.done(p, r)
	}
	if err == nil {
		err = x.verb.after(p)
	}
	if err == nil {
		err = p.clean()
	}
	if all := time.Since(begin); err == nil && all > patience {
		err = fmt.Errorf("it took %v, and with what followed %v", took, all)
	}
	if err != nil {
		return fmt.Errorf("%s (%.100s): exit %d, said %.400q: %w", rep.Hit, rep.Of, r.Code, r.Errors, err)
	}
	return nil
}

// ended looks at how the disturbed command ended: by the kill, or by itself with
// one line; a warning before is a line more.
func (x point) ended(r berth.Result) error {
	var lines []string
	for line := range strings.Lines(r.Errors) {
		if (!strings.HasPrefix(line, "WARNING: ") || strings.Contains(line, lost)) && !strings.HasPrefix(line, "See '") && !strings.HasPrefix(line, "Error: failed to start containers") && strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	switch {
	case r.Code == -1:
		return errors.New("it hangs")
	case r.Code == 137:
		return nil
	case r.Code != 0 && len(lines) != 1:
		return errors.New("wanted one line that says why")
	case r.Code == 0 && len(lines) > 0 && !strings.HasPrefix(x.verb.name, "exec"):
		return errors.New("it ended well and complained")
	}
	return nil
}
