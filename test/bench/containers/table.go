package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line. A goal is a bound of the value; aims are told and not judged.
type row struct {
	name         string
	ours, theirs string
	value, goal  float64
	atLeast      bool
	aim          bool
	shown        bool // there is no goal
}

type table struct{ rows []row }

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}

// faster is how many times faster ours is, round by round: the median of the
// ratios stands a drift of the machine's speed.
func (t *table) faster(name string, ours, theirs []time.Duration, goal float64) {
	t.rows = append(t.rows, row{name: name, ours: text(median(ours)), theirs: text(median(theirs)), value: ratio(theirs, ours), goal: goal, atLeast: true, shown: goal == 0})
}

// beside is ours against the floor.
func (t *table) beside(name string, ours, floor []time.Duration, aim, goal float64) {
	r := row{name: name, ours: text(median(ours)), theirs: text(median(floor)), value: ratio(ours, floor), goal: goal}
	t.rows = append(t.rows, r)
	r.name, r.goal, r.aim = name+" (aim)", aim, true
	t.rows = append(t.rows, r)
}

// most holds one number of ours against a fixed one.
func (t *table) most(name string, ours, limit float64, unit string) {
	t.rows = append(t.rows, row{name: name, ours: fmt.Sprintf("%.1f %s", ours, unit), theirs: fmt.Sprintf("%.1f %s", limit, unit), value: ours, goal: limit})
}

func text(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

func ratio(a, b []time.Duration) float64 {
	q := make([]float64, min(len(a), len(b)))
	for i := range q {
		q[i] = float64(a[i]) / float64(b[i])
	}
	slices.Sort(q)
	return q[len(q)/2]
}

func (r *row) verdict() (goal, verdict string) {
	if r.shown {
		return "-", ""
	}
	sign, ok := "≤", r.value <= r.goal
	if r.atLeast {
		sign, ok = "≥", r.value >= r.goal
	}
	goal = fmt.Sprintf("%s %.4g", sign, r.goal)
	switch {
	case ok:
		return goal, "met"
	case r.aim:
		return goal, "not reached (an aim)"
	}
	return goal, "MISSED"
}

func (t *table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "| measured\t| ours\t| theirs or limit\t| value\t| goal\t| \t|")
	fmt.Fprintln(out, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	missed := 0
	for i := range t.rows {
		r := &t.rows[i]
		goal, verdict := r.verdict()
		if verdict == "MISSED" {
			missed++
		}
		fmt.Fprintf(out, "| %s\t| %s\t| %s\t| %.2f\t| %s\t| %s\t|\n", r.name, r.ours, r.theirs, r.value, goal, verdict)
	}
	out.Flush()
	fmt.Fprintf(w, "missed: %d of %d\n", missed, len(t.rows))
}
