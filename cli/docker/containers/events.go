package containers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

// Events is events.
type Events struct {
	filters              command.Filters
	format, since, until string
	noTrunc, stream      bool
}

func (v *Events) Flags(f *pflag.FlagSet) {
	command.FilterFlag(f, &v.filters, "f", "Filter output based on conditions provided")
	command.FormatFlag(f, &v.format, "", "Format the output using the given Go template")
	f.StringVar(&v.since, "since", "", "Show all events created since timestamp")
	f.StringVar(&v.until, "until", "", "Stream events until this timestamp")
	f.BoolVar(&v.noTrunc, "no-trunc", true, "Don't truncate output")
	f.BoolVar(&v.stream, "stream", true, "Stream events and do not exit when the last one is shown")
	command.Extra(f, "no-trunc", "stream")
}

// request has no effects.
func (v *Events) request(now time.Time) (EventOptions, error) {
	o := EventOptions{Filters: v.filters}
	var err error
	if o.Since, err = moment(v.since, now); err != nil {
		return o, err
	}
	if o.Until, err = moment(v.until, now); err != nil {
		return o, err
	}
	if !v.stream && o.Until.IsZero() {
		o.Until = now
	}
	return o, nil
}

func (v *Events) Run(ctx context.Context, c *command.Call, _ []string) error {
	o, err := v.request(c.Now())
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	return command.FromEngine(e.Events(ctx, o, func(ev Event) error { return v.print(c, ev) }))
}

// Actor is what an event is about, as docker's JSON has it.
type Actor struct {
	ID         string
	Attributes map[string]string
}

// eventRow is an event as docker's JSON and templates have it.
type eventRow struct {
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    Actor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

func (v *Events) print(c *command.Call, ev Event) error {
	if !v.noTrunc {
		ev.ID = shortID(ev.ID)
	}
	source := v.format
	if source == "json" {
		source = "{{json .}}"
	}
	if source != "" {
		row := eventRow{
			Type: ev.Type, Action: ev.Action, Actor: Actor{ev.ID, ev.Attributes}, Scope: "local", Time: ev.Time.Unix(),
			TimeNano: ev.Time.UnixNano(),
		}
		if ev.Type == "container" || ev.Type == "image" {
			row.Status, row.ID, row.From = ev.Action, ev.ID, ev.Attributes["image"]
		}
		return format.Value(c.Out, source, row)
	}
	var parts []string
	for k, value := range ev.Attributes {
		parts = append(parts, k+"="+value)
	}
	slices.Sort(parts)
	line := fmt.Sprintf("%s %s %s %s", ev.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), ev.Type, ev.Action, ev.ID)
	if len(parts) > 0 {
		line += " (" + strings.Join(parts, ", ") + ")"
	}
	fmt.Fprintln(c.Out, term.Clean(line))
	return nil
}
