package container

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/base/atomicfile"
)

// killed gives a lock free as the end of its holder does.
func killed(t *testing.T, l *Locked) {
	t.Helper()
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// A create that is killed at any of its steps is taken away, with what others made
// for it; one that is at work is left alone.
func TestSweepOfCreates(t *testing.T) {
	s := open(t, t.TempDir())
	create(t, s, "there")
	for _, remove := range []bool{false, true} {
		for step := range 4 {
			rec := &Record{Name: "half"}
			rec.Config.Life.Remove = remove
			l, err := s.Begin(rec)
			if err == nil {
				err = l.Intend(Intent{Made: []string{"volume"}})
			}
			if err == nil && step > 0 {
				_, err = s.names.stageName(rec.ID)
			}
			if err == nil && step > 1 {
				err = os.Link(s.names.stagedName(rec.ID), s.names.namePath("half"))
			}
			if err == nil && step > 2 {
				err = os.Mkdir(traces(s.disk, rec.ID)[0], 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			drop := func(ID, Intent) error { t.Error("a create that is at work was taken away"); return nil }
			if found, err := s.Check(t.Context(), drop); err != nil || len(found) > 0 {
				t.Errorf("step %d, at work: %+v, %v", step, found, err)
			}
			if coming, err := s.Intents(); err != nil || !slices.Equal(coming[rec.ID].Made, []string{"volume"}) {
				t.Errorf("step %d: intents %v, %v", step, coming, err)
			}
			killed(t, l)
			if found, err := s.Sweep(t.Context(), nil); err != nil || len(found) != 1 || found[0].Repaired {
				t.Errorf("step %d, looked at: %+v, %v", step, found, err)
			}
			dropped := ""
			drop = func(id ID, i Intent) error { dropped = fmt.Sprint(id, i.Made); return nil }
			if found, err := s.Sweep(t.Context(), drop); err != nil || len(found) != 1 || !found[0].Repaired || dropped != fmt.Sprint(rec.ID, []string{"volume"}) {
				t.Errorf("step %d: %+v, %v, dropped %s", step, found, err, dropped)
			}
			for dir, want := range map[string]int{s.locks(): 2, s.namesDir(): 1, s.kept(): 1, s.running(): 1} { // locks and the run folder have the boot's
				if left, err := os.ReadDir(dir); err != nil || len(left) != want {
					t.Errorf("step %d, left in %s: %v, %v", step, dir, left, err)
				}
			}
		}
	}
}

// A container counts when its create has come to its end.
func TestUnfinished(t *testing.T) {
	s := open(t, t.TempDir())
	rec := &Record{Name: "one"}
	l, err := s.Begin(rec)
	if err == nil {
		err = l.Intend(Intent{})
	}
	if err == nil {
		err = l.Make(rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.Facts(t.Context(), rec.ID); err != nil || !f.Unfinished || f.State() != StateCreated {
		t.Errorf("half-made: %+v, %v", f, err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Facts(t.Context(), rec.ID); err != nil || f.Unfinished {
		t.Errorf("made: %+v, %v", f, err)
	}
}

// A removal that is killed goes on, or is swept; the volumes of a create that was
// finished long ago are not its.
func TestSweepOfRemovals(t *testing.T) {
	s := open(t, t.TempDir())
	rec := &Record{Name: "old"}
	l, err := s.Begin(rec)
	if err == nil {
		err = l.Intend(Intent{Made: []string{"volume"}})
	}
	if err == nil {
		err = l.Make(rec)
	}
	if err == nil {
		err = l.Removing(true)
	}
	if err == nil {
		err = s.names.release("old", rec.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	killed(t, l)
	if found, err := s.Check(t.Context(), func(ID, Intent) error { return nil }); err != nil || len(found) > 0 {
		t.Errorf("with a record: %+v, %v", found, err)
	}
	if f, err := s.Facts(t.Context(), rec.ID); err != nil || !f.Removing || !f.RemovingVolumes {
		t.Errorf("facts: %+v, %v", f, err)
	}
	l = locked(t, s, rec.ID)
	if err := l.lock.Note(nil); err != nil { // as Remove does first
		t.Fatal(err)
	}
	if err := os.Rename(s.Home(rec.ID), traces(s.disk, rec.ID)[0]); err != nil {
		t.Fatal(err)
	}
	killed(t, l)
	if _, err := s.Lock(t.Context(), rec.ID); err == nil {
		t.Error("it has no record and can be locked")
	}
	drop := func(_ ID, i Intent) error {
		if len(i.Made) > 0 {
			t.Errorf("volumes go: %v", i.Made)
		}
		return nil
	}
	if found, err := s.Sweep(t.Context(), drop); err != nil || len(found) != 1 || !found[0].Repaired {
		t.Errorf("without a record: %+v, %v", found, err)
	}
	if left, _ := os.ReadDir(s.locks()); len(left) != 1 {
		t.Errorf("locks left: %v", left)
	}
}

// A file that was being written is a dead command's after a minute.
func TestSweepOfFiles(t *testing.T) {
	s := open(t, t.TempDir())
	path := s.exits() + "/.stage-00"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	drop := func(ID, Intent) error { return nil }
	if found, err := s.Check(t.Context(), drop); err != nil || len(found) > 0 {
		t.Errorf("a new one: %+v, %v", found, err)
	}
	then := time.Now().Add(-2 * atomicfile.Stale)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(t.Context(), drop); err != nil || len(found) != 1 || !found[0].Repaired {
		t.Errorf("an old one: %+v, %v", found, err)
	}
}

// A check that repairs, again and again, beside creates, renames and removals finds
// nothing and takes nothing away.
func TestCheckBesideVerbs(t *testing.T) {
	s := open(t, t.TempDir())
	stop := make(chan struct{})
	var check, verbs sync.WaitGroup
	check.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			found, err := s.Check(t.Context(), func(id ID, _ Intent) error { t.Errorf("%s is taken away", id); return nil })
			if err != nil || len(found) > 0 {
				t.Errorf("check: %+v, %v", found, err)
			}
		}
	})
	for k := range 4 {
		verbs.Go(func() {
			for i := range 60 {
				name := fmt.Sprintf("name-%d", k)
				rec := &Record{Name: name}
				rec.Config.Life.Remove = i%2 == 0
				l, err := s.Create(t.Context(), rec)
				if err == nil {
					err = l.Rename(name + "b")
				}
				if err == nil {
					var found ID
					if found, err = s.Find(t.Context(), name+"b"); err == nil && found != rec.ID {
						err = fmt.Errorf("%s is %s", name, found)
					}
				}
				if err == nil {
					err = l.Remove()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	verbs.Wait()
	close(stop)
	check.Wait()
	if left, _ := os.ReadDir(s.namesDir()); len(left) > 0 {
		t.Errorf("names left: %v", left)
	}
}
