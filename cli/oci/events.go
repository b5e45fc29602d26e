package oci

import (
	"context"
	"encoding/json"
	"time"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

var eventsVerb = verb{
	name: "events", summary: "print a container's use of resources, and when it runs out of memory", args: "CONTAINER", min: 1, max: 1,
	about: `Prints one JSON object a line: "stats" each --interval, and "oom" each time the
kernel kills in the container for want of memory. It ends with the container.`,
	new: func() command { return new(eventsCommand) },
}

type eventsCommand struct {
	interval time.Duration
	stats    bool
}

func (c *eventsCommand) flags(s *cmdline.Set) {
	c.interval = 5 * time.Second
	s.Duration(&c.interval, "interval", "time between two stats")
	s.Bool(&c.stats, "stats", "print stats once and end")
}

// eventJSON is one line of runc's events.
type eventJSON struct {
	Type string     `json:"type"`
	ID   string     `json:"id"`
	Data *statsJSON `json:"data,omitempty"`
}

func (c *eventsCommand) run(ctx context.Context, in *call) (int, error) {
	id := in.words[0]
	if c.interval <= 0 {
		return 0, fault.New(fault.Invalid, "--interval %v: duration interval must be greater than 0", c.interval)
	}
	out := json.NewEncoder(in.stdout)
	print := func() error {
		s, err := in.rt.Stats(id)
		if err != nil {
			return err
		}
		return out.Encode(eventJSON{Type: "stats", ID: id, Data: newStatsJSON(s)})
	}
	if c.stats {
		return 0, print()
	}
	ooms, err := in.rt.OOMEvents(ctx, id)
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case _, more := <-ooms:
			if !more {
				return 0, nil // the container has ended
			}
			if err := out.Encode(eventJSON{Type: "oom", ID: id}); err != nil {
				return 0, err
			}
		case <-tick.C:
			if err := print(); err != nil {
				if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
					return 0, nil
				}
				in.log.write("error", err.Error())
			}
		}
	}
}
