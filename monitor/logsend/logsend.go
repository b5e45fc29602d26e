// Package logsend sends a container's output where docker's log drivers
// journald, syslog, fluentd and gelf send it, in their words and forms.
//
//	monitor ── frames, as package logfile writes them for "local" ──▶ Run ──▶ Target
//
// It runs in a process of its own beside the monitor, which gives up most of its
// rights: the monitor parses nothing and speaks with nobody. Docker's options
// and error texts are kept, so that what reads the logs need not change. Row 4,
// inside room monitor.
package logsend

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"berth/base/fault"
)

// Message is one line of output, or a piece of a long one.
type Message struct {
	Stream  string // stdout, stderr
	Time    time.Time
	Line    []byte // without its newline
	Piece   bool   // of a line of more than 16 KiB
	Last    bool   // piece of it
	ID      string // of that line
	Ordinal int    // of the piece, from 1
}

// Target is where messages go.
type Target interface {
	// Send sends one; after an error the next may go well.
	Send(m *Message) error
	Close() error
}

// Info is what a driver may tell of the container.
type Info struct {
	ContainerID        string
	ContainerName      string // with a slash in front, as docker's
	ContainerImageID   string
	ContainerImageName string
	ContainerCreated   time.Time
	Entrypoint         string // what is executed
	Args               []string
	ContainerEnv       []string
	ContainerLabels    map[string]string
	DaemonName         string
	Config             map[string]string // the options
}

// ID is the short id: one of the words of a tag's template, like those below.
func (i *Info) ID() string { return short(i.ContainerID) }

// FullID is the whole id.
func (i *Info) FullID() string { return i.ContainerID }

// Name is the name.
func (i *Info) Name() string { return strings.TrimPrefix(i.ContainerName, "/") }

// Command is the command line.
func (i *Info) Command() string {
	return strings.Join(append([]string{i.Entrypoint}, i.Args...), " ")
}

// ImageID is the beginning of the image's id.
func (i *Info) ImageID() string { return short(i.ContainerImageID) }

// ImageFullID is the image's id.
func (i *Info) ImageFullID() string { return i.ContainerImageID }

// ImageName is the image's name as typed.
func (i *Info) ImageName() string { return i.ContainerImageName }

// Hostname is this machine's.
func (i *Info) Hostname() (string, error) { return os.Hostname() }

func short(id string) string { return id[:min(12, len(id))] }

// ExtraAttributes are the labels and variables that the options labels, env and
// the like ask for, their keys as rename makes them.
func (i *Info) ExtraAttributes(rename func(string) string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range []struct {
		option string
		from   map[string]string
	}{{"labels", i.ContainerLabels}, {"env", i.variables()}} {
		if err := i.pick(one.option, one.from, rename, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// variables is the environment by names.
func (i *Info) variables() map[string]string {
	out := make(map[string]string, len(i.ContainerEnv))
	for _, e := range i.ContainerEnv {
		if k, v, ok := strings.Cut(e, "="); ok {
			out[k] = v
		}
	}
	return out
}

func (i *Info) pick(option string, from map[string]string, rename func(string) string, out map[string]string) error {
	named := strings.Split(i.Config[option], ",")
	var fits *regexp.Regexp
	if s := i.Config[option+"-regex"]; s != "" {
		var err error
		if fits, err = regexp.Compile(s); err != nil {
			return fault.New(fault.Invalid, "log opt %s-regex: %w", option, err)
		}
	}
	for k, v := range from {
		if slices.Contains(named, k) || fits != nil && fits.MatchString(k) {
			if rename != nil {
				k = rename(k)
			}
			out[k] = v
		}
	}
	return nil
}

// Needed is a copy without the labels and variables that nothing asks for.
func (i *Info) Needed() (*Info, error) {
	out := *i
	out.ContainerLabels, out.ContainerEnv = map[string]string{}, nil
	picked := map[string]string{}
	if err := i.pick("env", i.variables(), nil, picked); err != nil {
		return nil, err
	}
	for k, v := range picked {
		out.ContainerEnv = append(out.ContainerEnv, k+"="+v)
	}
	return &out, i.pick("labels", i.ContainerLabels, nil, out.ContainerLabels)
}

// Tag is the option tag, a template over Info; without one it is standard.
func (i *Info) Tag(standard string) (string, error) {
	source := i.Config["tag"]
	if source == "" {
		source = standard
	}
	t, err := template.New("log-tag").Funcs(template.FuncMap{
		"split": strings.Split, "join": strings.Join, "lower": strings.ToLower, "upper": strings.ToUpper,
		"truncate": func(s string, n int) string { return s[:min(len(s), max(0, n))] },
	}).Parse(source)
	if err != nil {
		return "", fault.New(fault.Invalid, "log opt tag: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, i); err != nil {
		return "", fault.New(fault.Invalid, "log opt tag: %w", err)
	}
	return b.String(), nil
}

// DefaultTag is the tag that docker gives.
const DefaultTag = "{{.ID}}"

// drivers are those of this package.
var drivers = map[string]func(*Info) (Target, error){
	"journald": openJournald, "syslog": openSyslog, "fluentd": openFluentd, "gelf": openGELF,
}

// Known tells whether a driver is one of this package.
func Known(driver string) bool { return drivers[driver] != nil }

// Open connects to a driver's target. What cannot be reached is refused in
// docker's words.
func Open(driver string, i *Info) (Target, error) {
	open := drivers[driver]
	if open == nil {
		return nil, fault.New(fault.Unsupported, "log driver %q is not served", driver)
	}
	t, err := open(i)
	if err != nil {
		return nil, fmt.Errorf("failed to initialize logging driver: %w", err)
	}
	return t, nil
}
