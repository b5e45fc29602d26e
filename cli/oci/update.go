package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/base/units"
	"berth/cli/oci/cmdline"
)

var updateVerb = verb{
	name: "update", summary: "change the limits of a running container", args: "CONTAINER", min: 1, max: 1,
	about: `What is not given stays as it is; so does a limit given as 0. Sizes are in
bytes or with a unit (k, m, g, t); -1 takes a limit away.

The file of --resources has the form of linux.resources in config.json; with it,
all other flags are ignored.`,
	new: func() command { return new(updateCommand) },
}

// updateCommand keeps numbers as text: "" is not given.
type updateCommand struct {
	resources   string
	blkioWeight int
	pidsLimit   int
	text        [len(updateFlags)]string
}

// updateFlag is a flag of update with a number, and where the number goes.
type updateFlag struct {
	name, value, usage string
	read               func(string) (int64, error)
	set                func(*specs.LinuxResources, int64, string)
}

const period = ", in microseconds"

// updateFlags is the table of the flags; set gets the number and the text.
var updateFlags = [...]updateFlag{
	{"cpu-period", "N", "length of the CFS period" + period, readUnsigned,
		func(r *specs.LinuxResources, n int64, _ string) { u := uint64(n); r.CPU.Period = &u }},
	{"cpu-quota", "N", "CPU time in each CFS period" + period, readSigned,
		func(r *specs.LinuxResources, n int64, _ string) { r.CPU.Quota = &n }},
	{"cpu-burst", "N", "CPU time that may be saved up" + period, readUnsigned,
		func(r *specs.LinuxResources, n int64, _ string) { u := uint64(n); r.CPU.Burst = &u }},
	{"cpu-share", "N", "relative weight beside other containers", readUnsigned,
		func(r *specs.LinuxResources, n int64, _ string) { u := uint64(n); r.CPU.Shares = &u }},
	{"cpu-rt-period", "N", "length of the real-time period" + period, readUnsigned,
		func(r *specs.LinuxResources, n int64, _ string) { u := uint64(n); r.CPU.RealtimePeriod = &u }},
	{"cpu-rt-runtime", "N", "real-time CPU time in each period" + period, readSigned,
		func(r *specs.LinuxResources, n int64, _ string) { r.CPU.RealtimeRuntime = &n }},
	{"cpu-idle", "0|1", "run only when nothing else wants the CPU (SCHED_IDLE)", readSigned,
		func(r *specs.LinuxResources, n int64, _ string) { r.CPU.Idle = &n }},
	{"cpuset-cpus", "LIST", "CPUs to run on, such as 0-2,7", readText,
		func(r *specs.LinuxResources, _ int64, s string) { r.CPU.Cpus = s }},
	{"cpuset-mems", "LIST", "memory nodes to use", readText,
		func(r *specs.LinuxResources, _ int64, s string) { r.CPU.Mems = s }},
	{"memory", "SIZE", "limit of memory", readSize,
		func(r *specs.LinuxResources, n int64, _ string) { r.Memory.Limit = &n }},
	{"memory-reservation", "SIZE", "soft limit of memory", readSize,
		func(r *specs.LinuxResources, n int64, _ string) { r.Memory.Reservation = &n }},
	{"memory-swap", "SIZE", "limit of memory and swap together", readSize,
		func(r *specs.LinuxResources, n int64, _ string) { r.Memory.Swap = &n }},
	{"kernel-memory", "SIZE", "", readSize, nil},
	{"kernel-memory-tcp", "SIZE", "", readSize, nil},
	{"l3-cache-schema", "SCHEMA", "schema of Intel's cache allocation", readText, nil},
	{"mem-bw-schema", "SCHEMA", "schema of Intel's memory bandwidth allocation", readText, nil},
}

func (c *updateCommand) flags(s *cmdline.Set) {
	s.Path(&c.resources, "resources,r", "file with the new limits, - for standard input")
	s.Int(&c.blkioWeight, "blkio-weight", "N", "weight of block I/O, from 10 to 1000")
	s.Int(&c.pidsLimit, "pids-limit", "N", "limit of processes and threads")
	for i, f := range updateFlags {
		s.String(&c.text[i], f.name, f.value, f.usage).Hidden = f.usage == ""
	}
}

func (c *updateCommand) run(ctx context.Context, in *call) (int, error) {
	id := in.words[0]
	now, err := in.rt.Resources(id)
	if err != nil {
		return 0, err
	}
	asked, err := c.asked(in.stdin, in.log)
	if err != nil {
		return 0, err
	}
	return 0, in.rt.Update(ctx, id, merge(now, asked))
}

// maxResourceBytes bounds the --resources file.
const maxResourceBytes = 4 << 20

// asked is what the command line asks for; nil and 0 are not asked for.
func (c *updateCommand) asked(stdin io.Reader, log *logger) (*specs.LinuxResources, error) {
	if c.resources == "" {
		return c.askedByFlags(log)
	}
	in := stdin
	if c.resources != "-" {
		f, err := os.Open(c.resources)
		if err != nil {
			return nil, fmt.Errorf("--resources: %w", err)
		}
		defer f.Close()
		in = f
	}
	r := new(specs.LinuxResources)
	if err := decode(in, maxResourceBytes, r); err != nil {
		return nil, fault.New(fault.Invalid, "--resources %q: %w", c.resources, err)
	}
	return r, nil
}

func (c *updateCommand) askedByFlags(log *logger) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}}
	if c.blkioWeight < 0 || c.blkioWeight > 1000 {
		return nil, fault.New(fault.Invalid, "--blkio-weight %d: not between 10 and 1000", c.blkioWeight)
	}
	if w := uint16(c.blkioWeight); w != 0 {
		r.BlockIO = &specs.LinuxBlockIO{Weight: &w}
	}
	if n := int64(c.pidsLimit); n != 0 {
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	for i, f := range updateFlags {
		text := c.text[i]
		if text == "" {
			continue
		}
		n, err := f.read(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for %s: %w", f.name, err)
		}
		switch {
		case f.set != nil:
			f.set(r, n, text)
		case f.usage == "":
			log.warnf("--%s is ignored: the kernel no longer has this limit", f.name)
		default:
			return nil, fault.New(fault.Unsupported, "--%s: the container has no Intel RDT group", f.name)
		}
	}
	return r, nil
}

func readUnsigned(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number from 0 on", s)
	}
	return n, nil
}

func readSigned(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

func readSize(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	return units.ParseBytes(s)
}

func readText(string) (int64, error) { return 0, nil }

// decode reads one JSON value of at most limit bytes.
func decode(r io.Reader, limit int64, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("larger than %d bytes", limit)
	}
	return json.Unmarshal(data, v)
}
