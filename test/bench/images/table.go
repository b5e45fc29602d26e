package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line: ours over theirs, and the most it may be. A goal of 0 is
// none: the number is only shown.
type row struct {
	name         string
	ours, theirs string
	ratio, goal  float64
}

type table struct{ rows []row }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func (t *table) times(name string, ours, theirs []time.Duration, goal float64) {
	a, b := median(ours), median(theirs)
	t.rows = append(t.rows, row{name, a.Round(time.Millisecond / 10).String(), b.Round(time.Millisecond / 10).String(), float64(a) / float64(b), goal})
}

// limit holds one number of ours against a fixed one.
func (t *table) limit(name string, ours, most float64, unit string) {
	t.rows = append(t.rows, row{name, fmt.Sprintf("%.1f %s", ours, unit), fmt.Sprintf("%.1f %s", most, unit), ours / most, 1})
}

func (t *table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "measurement\tours\ttheirs or limit\tratio\tgoal\t")
	missed := 0
	for _, r := range t.rows {
		goal, verdict := "-", ""
		if r.goal > 0 {
			goal, verdict = fmt.Sprintf("%.3f", r.goal), "met"
			if r.ratio > r.goal {
				verdict = "MISSED"
				missed++
			}
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%.3f\t%s\t%s\n", r.name, r.ours, r.theirs, r.ratio, goal, verdict)
	}
	out.Flush()
	fmt.Fprintf(w, "missed: %d of %d\n", missed, len(t.rows))
}
