package oci

import (
	"context"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

var killVerb = verb{
	name: "kill", summary: "send a signal to a container's first process", args: "CONTAINER [SIGNAL]", min: 1, max: 2,
	about: `SIGNAL is a number or a name with or without SIG, TERM if not given. Real-time
signals are RTMIN, RTMIN+n, RTMAX-n and RTMAX.`,
	new: func() command { return new(killCommand) },
}

type killCommand struct{ all bool }

func (c *killCommand) flags(s *cmdline.Set) {
	s.Bool(&c.all, "all,a", "signal all processes of the container")
}

func (c *killCommand) run(ctx context.Context, in *call) (int, error) {
	sig := unix.SIGTERM
	if len(in.words) > 1 && in.words[1] != "" {
		var err error
		if sig, err = parseSignal(in.words[1]); err != nil {
			return 0, err
		}
	}
	return 0, in.rt.Kill(ctx, in.words[0], sig, c.all)
}

// The C libraries keep the kernel's first two real-time signals for
// themselves, so names count from 34 (signal(7)); 64 is the kernel's last.
const (
	rtMin = 34
	rtMax = 64
)

// parseSignal reads a signal's number (0 only asks whether the process is
// there) or name.
func parseSignal(s string) (unix.Signal, error) {
	unknown := fault.New(fault.Invalid, "unknown signal %q", s)
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > rtMax {
			return 0, unknown
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	n := 0
	switch {
	case name == "IOT":
		return unix.SIGABRT, nil
	case name == "POLL":
		return unix.SIGIO, nil
	case name == "CLD":
		return unix.SIGCHLD, nil
	case name == "RTMIN":
		n = rtMin
	case name == "RTMAX":
		n = rtMax
	case strings.HasPrefix(name, "RTMIN+"):
		n = offset(name, rtMin, 1)
	case strings.HasPrefix(name, "RTMAX-"):
		n = offset(name, rtMax, -1)
	}
	if n < rtMin || n > rtMax {
		return 0, unknown
	}
	return unix.Signal(n), nil
}

// offset is base plus or minus the number behind RTMIN+ or RTMAX-.
func offset(name string, base, sign int) int {
	n, err := strconv.ParseUint(name[len("RTMIN+"):], 10, 8)
	if err != nil {
		return -1
	}
	return base + sign*int(n)
}
