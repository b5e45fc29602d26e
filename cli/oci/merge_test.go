package oci

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func ptr[T any](v T) *T { return &v }

func TestMerge(t *testing.T) {
	now := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(10)), Swap: ptr(int64(20)), Swappiness: ptr(uint64(5))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(5)), Period: ptr(uint64(6)), Cpus: "0"},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(7))},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttle(8, 0, 1), throttle(8, 1, 2)}},
		Unified: map[string]string{"a": "1", "b": "2"},
	}
	before := *now.Memory
	asked := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: true}},
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(11)), Swap: ptr(int64(0))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(-1)), Shares: ptr(uint64(0)), Idle: ptr(int64(0)), Mems: "1"},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(0))},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttle(8, 1, 9), throttle(8, 2, 3)}},
		Unified: map[string]string{"b": "3"},
	}
	want := &specs.LinuxResources{
		Devices: now.Devices,
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(11)), Swap: ptr(int64(20)), Swappiness: ptr(uint64(5))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(-1)), Period: ptr(uint64(6)), Cpus: "0", Mems: "1", Idle: ptr(int64(0))},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(7))},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttle(8, 0, 1), throttle(8, 1, 9), throttle(8, 2, 3)}},
		Unified: map[string]string{"a": "1", "b": "3"},
	}
	if d := cmp.Diff(want, merge(now, asked)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&before, now.Memory); d != "" || now.Unified["b"] != "2" {
		t.Errorf("the old limits changed: %s", d)
	}
	if d := cmp.Diff(now, merge(now, &specs.LinuxResources{})); d != "" {
		t.Errorf("nothing was asked for: %s", d)
	}
	got := merge(now, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}})
	if *got.Memory.Limit != -1 || *got.Memory.Swap != -1 {
		t.Errorf("without a limit of memory there is none with swap: %+v", got.Memory)
	}
}

func throttle(major, minor int64, rate uint64) specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return d
}

func TestUpdateFlags(t *testing.T) {
	r := &recorder{}
	run(t, r, "update", "--memory", "64m", "--memory-swap", "-1", "--cpu-quota", "5000", "--cpu-period", "10000", "--cpu-share", "7",
		"--cpu-burst", "1", "--cpu-idle", "1", "--cpu-rt-period", "2", "--cpu-rt-runtime", "3", "--cpuset-cpus", "0-1", "--cpuset-mems", "0",
		"--memory-reservation", "32M", "--pids-limit", "-1", "--blkio-weight", "10", "a")
	want := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(-1)), Reservation: ptr(int64(32 << 20))},
		CPU: &specs.LinuxCPU{Quota: ptr(int64(5000)), Period: ptr(uint64(10000)), Shares: ptr(uint64(7)), Burst: ptr(uint64(1)), Idle: ptr(int64(1)),
			RealtimePeriod: ptr(uint64(2)), RealtimeRuntime: ptr(int64(3)), Cpus: "0-1", Mems: "0"},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(-1))},
		BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))},
	}
	if d := cmp.Diff(want, r.asked); d != "" {
		t.Error(d)
	}
	code, _, stderr := try(t, r, `{"memory":{"limit":5}}`, "update", "-r", "-", "--memory", "7", "a")
	if got := r.asked.(*specs.LinuxResources); code != 0 || *got.Memory.Limit != 5 {
		t.Errorf("from standard input: exit %d, %s, %+v", code, stderr, got)
	}
	for _, c := range []struct{ args, stdin, fail string }{
		{"update --memory x a", "", "memory"},
		{"update --memory -2 a", "", "memory"},
		{"update --cpu-period -5 a", "", "cpu-period"},
		{"update --cpu-quota 1.5 a", "", "cpu-quota"},
		{"update --blkio-weight 2000 a", "", "blkio-weight"},
		{"update --l3-cache-schema x a", "", "l3-cache-schema"},
		{"update -r /nonexistent a", "", "no such file"},
		{"update -r - a", "[]", "resources"},
		{"update -r - a", "", "unexpected end"},
		{"update -r - a", strings.Repeat(" ", maxResourceBytes+1), "larger than"},
	} {
		code, _, stderr := try(t, r, c.stdin, strings.Fields(c.args)...)
		if code != 1 || !strings.Contains(stderr, c.fail) {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
}
