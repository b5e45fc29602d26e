package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	start := time.Now()
	h := &Health{Retries: 2, StartPeriod: time.Minute}
	at := func(after time.Duration, code int) *HealthResult {
		return &HealthResult{Start: start.Add(after), Code: code}
	}
	for _, c := range []struct {
		name   string
		before HealthFact
		result *HealthResult
		want   HealthFact
	}{
		{"a failure while it starts does not count", HealthFact{HealthStarting, 0}, at(time.Second, 1), HealthFact{HealthStarting, 0}},
		{"after the start period it does", HealthFact{HealthStarting, 0}, at(2*time.Minute, 1), HealthFact{HealthStarting, 1}},
		{"enough failures", HealthFact{HealthStarting, 1}, at(2*time.Minute, -1), HealthFact{HealthUnhealthy, 2}},
		{"more failures", HealthFact{HealthUnhealthy, 2}, at(2*time.Minute, 2), HealthFact{HealthUnhealthy, 3}},
		{"one success", HealthFact{HealthUnhealthy, 9}, at(2*time.Minute, 0), HealthFact{HealthHealthy, 0}},
		{"a success ends the start period", HealthFact{HealthStarting, 0}, at(time.Second, 0), HealthFact{HealthHealthy, 0}},
		{"healthy in the start period", HealthFact{HealthHealthy, 0}, at(time.Second, 1), HealthFact{HealthHealthy, 1}},
		{"healthy until there are enough", HealthFact{HealthHealthy, 1}, at(time.Second, 1), HealthFact{HealthUnhealthy, 2}},
	} {
		if got := judge(h, c.before, start, c.result); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if got := judge(&Health{}, HealthFact{HealthHealthy, 1}, start, at(0, 1)); got != (HealthFact{HealthHealthy, 2}) {
		t.Errorf("three failures without retries: %+v", got)
	}
}

// TestChecked: results are kept in the run folder alone, five at most, and those
// of another run or of one that is paused are not kept.
func TestChecked(t *testing.T) {
	s := open(t, t.TempDir())
	l := locked(t, s, create(t, s, "checked").ID)
	_, p := sleeper(t)
	start(t, l, true, p)
	ctx := context.Background()
	f, err := s.Facts(ctx, l.ID)
	if err != nil {
		t.Fatal(err)
	}
	kept := listing(t, s.kept())
	h := &Health{Retries: 1}
	for i := range 7 {
		r := HealthResult{Start: time.Now(), End: time.Now(), Code: i % 2, Output: strings.Repeat("x", i)}
		if _, after, ok, err := l.Checked(h, f.Started.At, r); err != nil || !ok || (after.Status == HealthHealthy) != (i%2 == 0) {
			t.Fatalf("%d: %+v, %t, %v", i, after, ok, err)
		}
	}
	log, err := s.HealthLog(ctx, l.ID)
	if err != nil || len(log) != 5 || len(log[4].Output) != 6 || len(log[0].Output) != 2 {
		t.Errorf("log %+v, %v", log, err)
	}
	if f, err := s.Facts(ctx, l.ID); err != nil || f.HealthNow() != (HealthFact{Status: HealthHealthy}) {
		t.Errorf("%+v, %v", f.HealthNow(), err)
	}
	if now := listing(t, s.kept()); now != kept {
		t.Errorf("on disk before\n%s\nafter\n%s", kept, now)
	}
	if _, _, ok, err := l.Checked(h, f.Started.At.Add(-time.Second), HealthResult{Code: 1}); ok || err != nil {
		t.Errorf("a result of another run: %t, %v", ok, err)
	}
	if err := l.Paused(true, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, ok, err := l.Checked(h, f.Started.At, HealthResult{Code: 1}); ok || err != nil {
		t.Errorf("a result of a paused run: %t, %v", ok, err)
	}
}

// listing tells names, sizes and times of all files below a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			b.WriteString(path + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
