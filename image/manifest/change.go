package manifest

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/base/fault"
)

// Change applies instructions of a Dockerfile to the defaults of an image, as
// import's and commit's --change does: CMD, ENTRYPOINT, ENV, EXPOSE,
// HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR. Both
// "CMD x" and podman's "CMD=x" are taken. Error: that of CheckWords, or Invalid,
// naming the line; d may have been changed in part.
func Change(d *Defaults, lines []string) error {
	if err := CheckWords(lines); err != nil {
		return err
	}
	c := changer{d: d}
	for _, line := range lines {
		word, rest := instructionOf(line)
		run, _ := c.instruction(word)
		if err := apply(word, rest, run); err != nil {
			return fault.New(fault.Invalid, "change %.200q: %w", line, err)
		}
	}
	return nil
}

// CheckWords refuses, in docker's words, what is none of the instructions.
func CheckWords(lines []string) error {
	for _, line := range lines {
		word, _ := instructionOf(line)
		if _, ok := new(changer).instruction(word); !ok {
			return fault.New(fault.Invalid, "%.40s is not a valid change command", strings.ToLower(word))
		}
	}
	return nil
}

type changer struct {
	d      *Defaults
	cmdSet bool
}

// instructionOf parts a line into the instruction's word and what it is about.
func instructionOf(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		end = len(line)
	}
	return strings.ToUpper(line[:end]), strings.TrimSpace(strings.TrimPrefix(line[end:], "="))
}

func apply(word, rest string, run func(string) error) error {
	switch {
	case rest == "" && word != "CMD" && word != "ENTRYPOINT": // those are then empty
		return fault.New(fault.Invalid, "%s requires at least one argument", word)
	case strings.IndexByte(rest, 0) >= 0:
		return fault.New(fault.Invalid, "%s has a NUL byte", word)
	}
	return run(rest)
}

func (c *changer) instruction(word string) (func(string) error, bool) {
	switch word {
	case "CMD":
		return c.cmd, true
	case "ENTRYPOINT":
		return c.entrypoint, true
	case "ENV":
		return c.env, true
	case "EXPOSE":
		return c.expose, true
	case "HEALTHCHECK":
		return c.healthcheck, true
	case "LABEL":
		return c.label, true
	case "ONBUILD":
		return c.onbuild, true
	case "SHELL":
		return c.shell, true
	case "STOPSIGNAL":
		return func(s string) (err error) { c.d.StopSignal, err = c.line(s); return err }, true
	case "USER":
		return func(s string) (err error) { c.d.User, err = c.line(s); return err }, true
	case "VOLUME":
		return c.volume, true
	case "WORKDIR":
		return c.workdir, true
	}
	return nil, false
}

// line expands a value that is to be one plain line.
func (c *changer) line(s string) (string, error) {
	s, err := expand(s, c.d.Env)
	if err == nil && !isPlain(s) {
		return "", fault.New(fault.Invalid, "it is no plain line")
	}
	return s, err
}

// command reads the JSON form, or gives the rest to the shell.
func (c *changer) command(s string) Words {
	if list, ok := jsonList(s); ok || s == "" {
		return list
	}
	shell := c.d.Shell
	if len(shell) == 0 {
		shell = Words{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), s)
}

func jsonList(s string) ([]string, bool) {
	var list []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil || list == nil {
		return nil, false
	}
	return list, true
}

func (c *changer) cmd(s string) error {
	c.d.Cmd, c.d.ArgsEscaped, c.cmdSet = c.command(s), false, true
	return nil
}

// entrypoint drops a command that came with the image: it was for another.
func (c *changer) entrypoint(s string) error {
	c.d.Entrypoint = c.command(s)
	if !c.cmdSet {
		c.d.Cmd = nil
	}
	return nil
}

func (c *changer) env(s string) error {
	pairs, err := c.pairs(s)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		i := slices.IndexFunc(c.d.Env, func(old string) bool { return strings.HasPrefix(old, p[0]+"=") })
		if i < 0 {
			i = len(c.d.Env)
			c.d.Env = append(c.d.Env, "")
		}
		c.d.Env[i] = p[0] + "=" + p[1]
	}
	return nil
}

func (c *changer) label(s string) error {
	pairs, err := c.pairs(s)
	if err != nil {
		return err
	}
	if c.d.Labels == nil {
		c.d.Labels = map[string]string{}
	}
	for _, p := range pairs {
		c.d.Labels[p[0]] = p[1]
	}
	return nil
}

// pairs reads key=value key="another value", or the old form: key value.
func (c *changer) pairs(s string) ([][2]string, error) {
	words, err := split(s)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(words[0], "=") {
		key, value, ok := strings.Cut(s, " ")
		if !ok {
			return nil, fault.New(fault.Invalid, "%.80q has no value", key)
		}
		value, err := expand(strings.TrimSpace(value), c.d.Env)
		return [][2]string{{key, value}}, err
	}
	pairs := make([][2]string, 0, len(words))
	for _, w := range words {
		if w, err = expand(w, c.d.Env); err != nil {
			return nil, err
		}
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, fault.New(fault.Invalid, "%.80q is not of the form key=value", w)
		}
		pairs = append(pairs, [2]string{key, value})
	}
	return pairs, nil
}

// list reads ["a", "b"] or a b.
func (c *changer) list(s string) ([]string, error) {
	words, ok := jsonList(s)
	if ok {
		return words, nil
	}
	words, err := split(s)
	if err != nil {
		return nil, err
	}
	for i := range words {
		if words[i], err = expand(words[i], c.d.Env); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func (c *changer) expose(s string) error {
	words, err := c.list(s)
	if err != nil {
		return err
	}
	if c.d.ExposedPorts == nil {
		c.d.ExposedPorts = map[string]struct{}{}
	}
	for _, w := range words {
		p, err := ParsePort(w)
		if err != nil {
			return err
		}
		c.d.ExposedPorts[p.String()] = struct{}{}
	}
	return nil
}

func (c *changer) volume(s string) error {
	words, err := c.list(s)
	if err != nil {
		return err
	}
	if c.d.Volumes == nil {
		c.d.Volumes = map[string]struct{}{}
	}
	for _, w := range words {
		c.d.Volumes[w] = struct{}{}
	}
	_, err = c.d.VolumePaths()
	return err
}

func (c *changer) workdir(s string) error {
	s, err := c.line(s)
	if err != nil {
		return err
	}
	c.d.WorkingDir = path.Join("/", c.d.WorkingDir, s)
	if path.IsAbs(s) {
		c.d.WorkingDir = path.Clean(s)
	}
	return nil
}

func (c *changer) shell(s string) error {
	list, ok := jsonList(s)
	if !ok || len(list) == 0 {
		return fault.New(fault.Invalid, "SHELL requires the arguments to be in JSON form")
	}
	c.d.Shell = list
	return nil
}

func (c *changer) onbuild(s string) error {
	word, _, _ := strings.Cut(s, " ")
	switch strings.ToUpper(word) {
	case "ONBUILD":
		return fault.New(fault.Invalid, "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
	case "FROM", "MAINTAINER":
		return fault.New(fault.Invalid, "%s isn't allowed as an ONBUILD trigger", strings.ToUpper(word))
	}
	c.d.OnBuild = append(c.d.OnBuild, s)
	return nil
}

func (c *changer) healthcheck(s string) error {
	h := &Healthcheck{}
	for {
		word, rest, _ := strings.Cut(s, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case strings.HasPrefix(word, "--"):
			if err := h.flag(word); err != nil {
				return err
			}
			s = rest
			continue
		case strings.EqualFold(word, "NONE") && rest == "":
			h.Test = []string{"NONE"}
		case strings.EqualFold(word, "CMD") && rest != "":
			if list, ok := jsonList(rest); ok {
				h.Test = append([]string{"CMD"}, list...)
			} else {
				h.Test = []string{"CMD-SHELL", rest}
			}
		default:
			return fault.New(fault.Invalid, "HEALTHCHECK takes NONE or CMD command")
		}
		c.d.Healthcheck = h
		return nil
	}
}

func (h *Healthcheck) flag(word string) error {
	name, value, _ := strings.Cut(word, "=")
	into := map[string]*time.Duration{"--interval": &h.Interval, "--timeout": &h.Timeout,
		"--start-period": &h.StartPeriod, "--start-interval": &h.StartInterval}[name]
	if name == "--retries" {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 1 {
			return fault.New(fault.Invalid, "--retries must be at least 1 (not %.20q)", value)
		}
		h.Retries = int(n)
		return nil
	}
	d, err := time.ParseDuration(value)
	if into == nil || err != nil || d < time.Millisecond {
		return fault.New(fault.Invalid, "%.60q is no option of HEALTHCHECK", word)
	}
	*into = d
	return nil
}
