package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// cost is what one process took.
type cost struct{ wall, cpu time.Duration }

// row is one measured quantity of ours against a peer's, pair by pair.
type row struct {
	name        string
	ours, peers []time.Duration
	goal        float64
	aim         bool // something to aim at, not a goal
}

type table struct{ rows []row }

// pairs adds the wall and CPU rows of a series of pairs.
func (t *table) pairs(name string, ours, peers []cost, wallGoal, cpuGoal float64) {
	wall := row{name: name + ", wall", goal: wallGoal}
	cpu := row{name: name + ", CPU", goal: cpuGoal}
	for i := range ours {
		wall.ours, wall.peers = append(wall.ours, ours[i].wall), append(wall.peers, peers[i].wall)
		cpu.ours, cpu.peers = append(cpu.ours, ours[i].cpu), append(cpu.peers, peers[i].cpu)
	}
	t.rows = append(t.rows, wall, cpu)
}

func median[T int64 | float64 | time.Duration](v []T) T {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}

// ratio is the median of the pairs' ratios: it stands a drift of the machine's
// speed that medians of each side would not.
func (r *row) ratio() float64 {
	q := make([]float64, len(r.ours))
	for i := range r.ours {
		q[i] = float64(r.ours[i]) / float64(r.peers[i])
	}
	return median(q)
}

func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MEASURED\tOURS\tTHEIRS\tRATIO\tGOAL\t")
	missed := 0
	for i := range t.rows {
		r := &t.rows[i]
		q, verdict := r.ratio(), "met"
		if q > r.goal {
			verdict = "missed"
			if r.aim {
				verdict = "not reached (an aim)"
			} else {
				missed++
			}
		}
		fmt.Fprintf(tw, "%s\t%.2f ms\t%.2f ms\t%.2f\t≤ %.2f\t%s\n", r.name, ms(median(r.ours)), ms(median(r.peers)), q, r.goal, verdict)
	}
	tw.Flush()
	fmt.Fprintf(w, "goals missed: %d\n", missed)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
