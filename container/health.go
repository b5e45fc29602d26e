package container

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// The words for health.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// HealthFact is what the last healthchecks came to.
type HealthFact struct {
	Status  string `json:"status"`            // starting, healthy, unhealthy
	Failing int    `json:"failing,omitempty"` // failures in a row
}

// HealthResult is one run of a healthcheck.
type HealthResult struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Code   int       `json:"code"` // 0 healthy; -1: it did not run, or too long
	Output string    `json:"output,omitempty"`
}

// healthFile has the last results; lists need not read it.
const healthFile = "health.json"

// healthKept is how many results are kept.
const healthKept = 5

// judge is Docker's rule: one success is healthy; as many failures in a row as
// Retries says are unhealthy, of which those of the start period do not count
// until the first success.
func judge(h *Health, before HealthFact, started time.Time, r *HealthResult) HealthFact {
	if r.Code == 0 {
		return HealthFact{Status: HealthHealthy}
	}
	if before.Status == HealthStarting && r.Start.Sub(started) < h.StartPeriod {
		return before
	}
	before.Failing++
	if before.Failing >= h.MaxFailures() {
		before.Status = HealthUnhealthy
	}
	return before
}

// Checked takes a healthcheck's result into what is kept of the run that began
// at started, and returns the health before and after. ok is false, and nothing
// is kept, if that run is over or paused.
func (l *Locked) Checked(h *Health, started time.Time, r HealthResult) (before, after HealthFact, ok bool, err error) {
	seen, err := l.Facts()
	if err != nil {
		return before, after, false, err
	}
	if seen.State() != StateRunning || !seen.Started.At.Equal(started) {
		return before, after, false, nil
	}
	before = HealthFact{Status: HealthStarting}
	if seen.Health != nil {
		before = *seen.Health
	}
	after = judge(h, before, started, &r)
	log, err := l.s.healthLog(l.ID)
	if err != nil {
		log = nil // torn: it begins anew
	}
	log = append(log, r)
	if err := writeJSON(filepath.Join(l.s.RunDir(l.ID), healthFile), log[max(0, len(log)-healthKept):]); err != nil {
		return before, after, false, fmt.Errorf("keep the healthcheck of container %s: %w", l.ID, err)
	}
	if after == before && seen.Health != nil {
		return before, after, true, nil
	}
	return before, after, true, change(l, func(f *life) { f.Health = &after })
}

// HealthLog returns the last results of a container's healthcheck in this boot,
// oldest first.
func (s *Store) HealthLog(ctx context.Context, id ID) ([]HealthResult, error) { return s.healthLog(id) }

func (s *disk) healthLog(id ID) ([]HealthResult, error) {
	var log []HealthResult
	err := readJSON(filepath.Join(s.RunDir(id), healthFile), maxFacts, &log)
	if gone(err) {
		return nil, nil
	}
	return log, err
}

// HealthNow is the health of a container with a healthcheck: before the first
// result it starts; one that does not run is unhealthy, as with Docker. "" for
// one that never ran.
func (f *Facts) HealthNow() HealthFact {
	switch {
	case f.Started == nil:
		return HealthFact{}
	case !f.State().Live():
		out := HealthFact{Status: HealthUnhealthy}
		if f.Health != nil {
			out.Failing = f.Health.Failing
		}
		return out
	case f.Health == nil:
		return HealthFact{Status: HealthStarting}
	}
	return *f.Health
}
