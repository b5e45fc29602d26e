package containers

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/base/ids"
	"berth/base/journal"
	"berth/engine"
)

// watches is Watches on the engine of this machine.
type watches struct{ e *engine.Engine }

// interval is docker's time between two readings.
const interval = time.Second

func (w watches) Stats(ctx context.Context, names []string, o StatsOptions, each func([]Reading) error) error {
	last := map[ids.ID]*engine.Reading{}
	for round := 0; ; round++ {
		chosen, err := w.chosen(ctx, names, o.All)
		if err != nil {
			return err
		}
		var shown []Reading
		now := map[ids.ID]*engine.Reading{}
		for _, id := range chosen {
			r, err := engine.ReadStats(ctx, w.e, id)
			if err != nil {
				return err
			}
			now[id] = r
			shown = append(shown, reading(r, last[id]))
		}
		last = now
		if round > 0 || !o.Once { // a share of time takes two looks
			if err := each(shown); err != nil {
				return err
			}
		}
		if round > 0 && o.Once {
			return nil
		}
		t := time.NewTimer(interval)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// chosen are the containers named, or all that run.
func (w watches) chosen(ctx context.Context, names []string, all bool) ([]ids.ID, error) {
	var out []ids.ID
	for _, n := range names {
		id, err := w.e.Containers.Find(ctx, n)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	if len(names) > 0 {
		return out, nil
	}
	list, err := engine.Containers(ctx, w.e)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if all || list[i].State().Live() {
			out = append(out, list[i].ID)
		}
	}
	return out, nil
}

// reading is the use between two looks; without a first one there is no share.
func reading(r, before *engine.Reading) Reading {
	out := Reading{ID: string(r.ID), Name: r.Name, Gone: r.Stats == nil}
	if r.Stats == nil {
		return out
	}
	s := r.Stats
	out.NetIn, out.NetOut, out.Pids, out.Up = r.In, r.Out, s.Pids.Current, r.Up
	out.CPUTime = time.Duration(s.CPU.Total)
	out.Memory, out.MemoryLimit = s.Memory.Usage.Usage, s.Memory.Usage.Limit
	if inactive := s.Memory.Raw["total_inactive_file"] + s.Memory.Raw["inactive_file"]; inactive < out.Memory && s.Memory.Raw["total_inactive_file"] == 0 {
		out.Memory -= inactive
	} else if cache := s.Memory.Raw["total_inactive_file"]; cache < out.Memory {
		out.Memory -= cache
	}
	out.MemoryLimit = min(out.MemoryLimit, engine.MachineMemory())
	for _, b := range s.Blkio.ServiceBytes {
		switch b.Op {
		case "Read", "read":
			out.Read += b.Value
		case "Write", "write":
			out.Written += b.Value
		}
	}
	if before != nil && before.Stats != nil && r.At.After(before.At) && s.CPU.Total >= before.Stats.CPU.Total {
		out.CPUPercent = float64(s.CPU.Total-before.Stats.CPU.Total) / float64(r.At.Sub(before.At)) * 100
	}
	return out
}

func (w watches) Events(ctx context.Context, o EventOptions, each func(Event) error) error {
	var failed error
	read := journal.ReadOptions{Since: o.Since, Until: o.Until, Follow: o.Until.IsZero() || o.Until.After(time.Now())}
	if read.Since.IsZero() {
		read.Since = time.Now()
	}
	err := w.e.Journal.Read(ctx, read, func(ev journal.Event) bool {
		one := Event{Time: ev.Time, Type: ev.Type, Action: ev.Action, ID: ev.ID, Attributes: ev.Attributes}
		if !wanted(&one, o.Filters) {
			return true
		}
		failed = each(one)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// wanted tells whether an event passes the filters: any value of a key, all keys.
func wanted(e *Event, filters map[string][]string) bool {
	for key, values := range filters {
		ok := slices.ContainsFunc(values, func(v string) bool {
			switch key {
			case "type":
				return e.Type == v
			case "event":
				return e.Action == v
			case "container":
				return e.Type == "container" && (e.ID == v || e.Attributes["name"] == v || len(v) >= 4 && len(e.ID) > len(v) && e.ID[:len(v)] == v)
			case "image":
				return e.Attributes["image"] == v || e.Type == "image" && e.ID == v
			case "volume", "network":
				return e.Type == key && (strings.HasPrefix(e.ID, v) || strings.HasPrefix(e.Attributes["name"], v))
			case "label":
				return engine.HasLabel(e.Attributes, v)
			}
			return true
		})
		if !ok {
			return false
		}
	}
	return true
}
