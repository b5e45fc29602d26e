package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Logs is logs; podman's takes several containers.
type Logs struct {
	details, follow, timestamps, latest, names bool
	since, until, tail                         string
}

func (v *Logs) Flags(f *pflag.FlagSet) {
	f.BoolVar(&v.details, "details", false, "Show extra details provided to logs")
	f.BoolVarP(&v.follow, "follow", "f", false, "Follow log output")
	f.StringVar(&v.since, "since", "", "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	f.StringVarP(&v.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	f.BoolVarP(&v.timestamps, "timestamps", "t", false, "Show timestamps")
	f.StringVar(&v.until, "until", "", "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	f.BoolVarP(&v.latest, "latest", "l", false, "Show the newest container's logs")
	f.BoolVar(&v.names, "names", false, "Show the container's name before each line")
	command.Extra(f, "latest", "names")
}

// request has no effects.
func (v *Logs) request(now time.Time) (LogOptions, error) {
	o := LogOptions{Follow: v.follow, Timestamps: v.timestamps, Details: v.details, Tail: -1}
	var err error
	if o.Since, err = moment(v.since, now); err != nil {
		return o, fmt.Errorf("invalid value for \"since\": %w", err)
	}
	if o.Until, err = moment(v.until, now); err != nil {
		return o, fmt.Errorf("invalid value for \"until\": %w", err)
	}
	if n, err := strconv.Atoi(v.tail); err == nil && n >= 0 { // what is no number is all, as docker has it
		o.Tail = n
	}
	return o, nil
}

func (v *Logs) Run(ctx context.Context, c *command.Call, words []string) error {
	o, err := v.request(c.Now())
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	if v.latest || len(words) == 0 {
		name, err := one(ctx, e, words, v.latest)
		if err != nil {
			return err
		}
		words = []string{name}
	}
	var failed []error
	for _, name := range words {
		o.Out, o.Err = c.Out, c.Err
		if v.names {
			o.Out, o.Err = &prefixer{w: c.Out, prefix: name + " "}, &prefixer{w: c.Err, prefix: name + " "}
		}
		if err := e.Logs(ctx, name, o); err != nil {
			failed = append(failed, notThere(c, name, err))
		}
	}
	return errors.Join(failed...)
}

// prefixer puts a word before each line.
type prefixer struct {
	w      io.Writer
	prefix string
	within bool
}

func (p *prefixer) Write(data []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		if !p.within {
			b.WriteString(p.prefix)
		}
		b.WriteString(line)
		p.within = !strings.HasSuffix(line, "\n")
	}
	if _, err := io.WriteString(p.w, b.String()); err != nil {
		return 0, err
	}
	return len(data), nil
}

// momentForms are the ways to write a time, the local zone's where none is said.
var momentForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02",
	"2006-01-02Z07:00", "2006-01-02T15:04Z07:00",
}

// moment reads a time, seconds since 1970 with a fraction, or a span before
// now; "" is no time.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && s != "0" { // which is 1970, as in docker
		return now.Add(-d), nil
	}
	for _, form := range momentForms {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("failed to parse value as time or duration: %q", s)
	}
	if fraction == "" {
		return time.Unix(sec, 0), nil
	}
	nano, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("failed to parse value as time or duration: %q", s)
	}
	return time.Unix(sec, nano), nil
}
