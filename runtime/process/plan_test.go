package process

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/seccomp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden makes planning the same on every machine.
func golden(t *testing.T) {
	cap, files := lastCap, inheritedFiles
	lastCap = func() int { return 40 }
	inheritedFiles = func() (uint64, uint64) { return 1024, 4096 }
	t.Cleanup(func() { lastCap, inheritedFiles = cap, files })
}

func all(t *testing.T, spec *specs.Spec, o *Options) ([]string, error) {
	t.Helper()
	b := plan.New()
	p := spec.Process
	for _, phase := range []func() error{
		func() error { return Terminal(b, p, o) },
		func() error { return Early(b, spec, p, o) },
		func() error { return Late(b, p, o) },
		func() error { return BeforeWait(b, p, o) },
		func() error { return AfterWait(b, p, o) },
	} {
		if err := phase(); err != nil {
			return nil, err
		}
	}
	// The wire form keeps everything.
	back, err := initproc.Decode(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	again := plan.New()
	again.Add(back.Steps...)
	lines := b.Lines()
	steps := lines[len(lines)-len(b.Steps()):]
	for i, l := range again.Lines()[1:] {
		if l != steps[i] {
			t.Errorf("decoded as\n%s\nfrom\n%s", l, steps[i])
		}
	}
	return lines, nil
}

func everyNamespace(t *testing.T, but ...specs.LinuxNamespaceType) namespace.Set {
	t.Helper()
	var list []specs.LinuxNamespace
next:
	for _, k := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace,
		specs.IPCNamespace, specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace} {
		for _, b := range but {
			if k == b {
				continue next
			}
		}
		list = append(list, specs.LinuxNamespace{Type: k})
	}
	s, err := namespace.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// full asks for everything.
func full() *specs.Spec {
	mask := uint32(0o27)
	list := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_CHECKPOINT_RESTORE"}
	return &specs.Spec{
		Hostname: "box", Domainname: "example.test",
		Process: &specs.Process{
			Terminal: true, ConsoleSize: &specs.Box{Height: 24, Width: 80}, Cwd: "/",
			User:            specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{4, 5}, Umask: &mask},
			Capabilities:    &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list, Inheritable: list[1:2], Ambient: list[1:2]},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 2}, {Type: "RLIMIT_NPROC", Soft: 100, Hard: 1<<64 - 1}},
			NoNewPrivileges: true,
			Scheduler:       &specs.Scheduler{Policy: specs.SchedBatch, Nice: -5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
			IOPriority:      &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 4},
			ExecCPUAffinity: &specs.CPUAffinity{Initial: "0", Final: "1,64-65"},
		},
		Linux: &specs.Linux{
			Sysctl:       map[string]string{"net.ipv4.ip_forward": "1", "kernel.sem": "1 2 3 4", "net/ipv6/conf/eth0.7/disable_ipv6": "0"},
			Personality:  &specs.LinuxPersonality{Domain: specs.PerLinux32},
			MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0-1", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}},
		},
	}
}

func TestGolden(t *testing.T) {
	golden(t)
	filter := &seccomp.Filter{Insns: []unix.SockFilter{{Code: 6, K: 0x7fff0000}}, Flags: 4}
	listener := &seccomp.Filter{Insns: filter.Insns, Flags: 8, Notify: true}
	socket := func(*plan.Host) (*os.File, error) { return nil, nil }
	for _, tc := range []struct {
		name    string
		spec    *specs.Spec
		options Options
	}{
		{"least", &specs.Spec{Process: &specs.Process{}}, Options{ID: "c1"}},
		{"full", full(), Options{ID: "c1", Namespaces: everyNamespace(t, specs.UserNamespace), Filter: filter, ConsoleSocket: socket}},
		{"full-userns", full(), Options{ID: "c1", Namespaces: everyNamespace(t), Filter: listener, ConsoleSocket: socket, NoNewKeyring: true}},
		{"full-exec", full(), Options{ID: "c1", Exec: true, Namespaces: everyNamespace(t), Filter: filter, ConsoleSocket: socket}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines, err := all(t, tc.spec, &tc.options)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(lines, "\n") + "\n"
			path := filepath.Join("testdata", tc.name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; go test -update rewrites it\ngot\n%s", path, got)
			}
		})
	}
}

// Every error names its field.
func TestRefused(t *testing.T) {
	golden(t)
	for _, tc := range []struct {
		want string
		edit func(s *specs.Spec, o *Options)
	}{
		{"hostname: it takes a private UTS namespace", func(s *specs.Spec, o *Options) { o.Namespaces = everyNamespace(t, specs.UTSNamespace) }},
		{"domainname: it takes", func(s *specs.Spec, o *Options) {
			s.Hostname = ""
			o.Namespaces = everyNamespace(t, specs.UTSNamespace)
		}},
		{"hostname: longer", func(s *specs.Spec, o *Options) { s.Hostname = strings.Repeat("x", 65) }},
		{"hostname: ", func(s *specs.Spec, o *Options) { s.Hostname = "a\nb" }},
		{"process.terminal: ", func(s *specs.Spec, o *Options) { o.ConsoleSocket = nil }},
		{"process.consoleSize: ", func(s *specs.Spec, o *Options) { s.Process.ConsoleSize.Width = 65536 }},
		{"process.rlimits[0].type: unknown limit", func(s *specs.Spec, o *Options) { s.Process.Rlimits[0].Type = "NOFILE" }},
		{"process.rlimits[1].type: RLIMIT_CORE is named twice", func(s *specs.Spec, o *Options) { s.Process.Rlimits[1].Type = "RLIMIT_CORE" }},
		{"process.rlimits[0]: RLIMIT_CORE: soft limit 3 is above", func(s *specs.Spec, o *Options) { s.Process.Rlimits[0].Soft = 3 }},
		{"process.scheduler.policy: unknown", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Policy = "" }},
		{"process.scheduler.policy: Linux never", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Policy = specs.SchedISO }},
		{"process.scheduler.nice: ", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Nice = 20 }},
		{"process.scheduler.nice: SCHED_RR knows", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Policy = specs.SchedRR }},
		{"process.scheduler.priority: only", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Priority = 1 }},
		{"process.scheduler.priority: 0 is not", func(s *specs.Spec, o *Options) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO}
		}},
		{"process.scheduler: SCHED_DEADLINE needs", func(s *specs.Spec, o *Options) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 5, Deadline: 4}
		}},
		{"process.scheduler: only SCHED_DEADLINE", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Period = 1 }},
		{"process.scheduler.flags[0]: unknown flag", func(s *specs.Spec, o *Options) { s.Process.Scheduler.Flags[0] = "X" }},
		{"process.ioPriority.class: ", func(s *specs.Spec, o *Options) { s.Process.IOPriority.Class = "IOPRIO_CLASS_NONE" }},
		{"process.ioPriority.priority: ", func(s *specs.Spec, o *Options) { s.Process.IOPriority.Priority = 8 }},
		{"process.execCPUAffinity.initial: ", func(s *specs.Spec, o *Options) { o.Exec, s.Process.ExecCPUAffinity.Initial = true, "x" }},
		{"process.execCPUAffinity.final: 9000", func(s *specs.Spec, o *Options) { o.Exec, s.Process.ExecCPUAffinity.Final = true, "9000" }},
		{"linux.personality.domain: ", func(s *specs.Spec, o *Options) { s.Linux.Personality.Domain = "BSD" }},
		{"linux.personality.flags: ", func(s *specs.Spec, o *Options) { s.Linux.Personality.Flags = []specs.LinuxPersonalityFlag{"X"} }},
		{"linux.memoryPolicy.mode: ", func(s *specs.Spec, o *Options) { s.Linux.MemoryPolicy.Mode = "" }},
		{"linux.memoryPolicy.nodes: MPOL_INTERLEAVE needs", func(s *specs.Spec, o *Options) { s.Linux.MemoryPolicy.Nodes = "" }},
		{"linux.memoryPolicy.nodes: MPOL_LOCAL takes", func(s *specs.Spec, o *Options) { s.Linux.MemoryPolicy.Mode = specs.MpolLocal }},
		{"linux.memoryPolicy.nodes: ", func(s *specs.Spec, o *Options) { s.Linux.MemoryPolicy.Nodes = "3-1" }},
		{"linux.memoryPolicy.flags[0]: ", func(s *specs.Spec, o *Options) { s.Linux.MemoryPolicy.Flags[0] = "X" }},
	} {
		s := full()
		o := Options{ID: "c1", Namespaces: everyNamespace(t), ConsoleSocket: func(*plan.Host) (*os.File, error) { return nil, nil }}
		tc.edit(s, &o)
		_, err := all(t, s, &o)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
}

// V13: a parameter of the machine is out of reach, however it is written.
func TestSysctlAllowList(t *testing.T) {
	host, err := namespace.Parse([]specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: "/proc/self/ns/net"}, {Type: specs.IPCNamespace, Path: "/proc/thread-self/ns/ipc"},
		{Type: specs.UTSNamespace, Path: "/proc/1/../self/ns/uts"},
	})
	if err != nil {
		t.Fatal(err)
	}
	own := everyNamespace(t)
	for _, tc := range []struct {
		name, value string
		ns          namespace.Set
		path        string // empty: refused
	}{
		{"net.ipv4.ip_forward", "1", own, "net/ipv4/ip_forward"},
		{"net/ipv4/ip_forward", "1", own, "net/ipv4/ip_forward"},
		{"net.ipv4.conf.eth0/1.forwarding", "1", own, "net/ipv4/conf/eth0.1/forwarding"},
		{"net/ipv4/conf/eth0.1/forwarding", "1", own, "net/ipv4/conf/eth0.1/forwarding"},
		{"kernel.shm_rmid_forced", "1", own, "kernel/shm_rmid_forced"},
		{"kernel.domainname", "x", own, "kernel/domainname"},
		{"fs.mqueue.msg_max", "5", own, "fs/mqueue/msg_max"},
		{"net.ipv4.ip_forward", "1", everyNamespace(t, specs.NetworkNamespace), ""},
		{"kernel.sem", "1", everyNamespace(t, specs.IPCNamespace), ""},
		{"fs.mqueue.msg_max", "5", everyNamespace(t, specs.IPCNamespace), ""},
		{"kernel.domainname", "x", everyNamespace(t, specs.UTSNamespace), ""},
		{"net.ipv4.ip_forward", "1", host, ""},
		{"kernel.sem", "1", host, ""},
		{"kernel.domainname", "x", host, ""},
		{"kernel.core_pattern", "|/evil", own, ""},
		{"kernel/core_pattern", "|/evil", own, ""},
		{"kernel.hostname", "x", own, ""},
		{"kernel.sem/../core_pattern", "|/evil", own, ""},
		{"net/../kernel/core_pattern", "|/evil", own, ""},
		{"net./.kernel.core_pattern", "|/evil", own, ""},
		{"net.//.kernel.core_pattern", "|/evil", own, ""},
		{"net.", "1", own, ""},
		{"net", "1", own, ""},
		{"", "1", own, ""},
		{".net.x", "1", own, ""},
		{"/net/x", "1", own, ""},
		{"net..x", "1", own, ""},
		{"net\n.x", "1", own, ""},
		{"fs.mqueue", "1", own, ""},
		{"fs.file-max", "1", own, ""},
		{"fs.mqueue.a.b", "1", own, ""},
		{"vm.swappiness", "1", own, ""},
		{"net.ipv4.ip_forward", "1\nkernel.core_pattern=|/evil", own, ""},
		{"net.ipv4.ip_forward", "1\x00", own, ""},
		{"net.ipv4.ip_forward", strings.Repeat("1", 4096), own, ""},
	} {
		b := plan.New()
		s := &specs.Spec{Linux: &specs.Linux{Sysctl: map[string]string{tc.name: tc.value}}}
		err := sysctls(b, s, &Options{Namespaces: tc.ns})
		if tc.path == "" {
			if err == nil || !strings.Contains(err.Error(), "linux.sysctl[\"") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q = %.20q: %v, %q", tc.name, tc.value, err, b.Lines())
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tc.name, err)
			continue
		}
		if got := b.Steps()[0].(*initproc.Sysctl); got.Path != tc.path || got.Value != tc.value {
			t.Errorf("%q: %+v", tc.name, got)
		}
	}
}

func TestParseList(t *testing.T) {
	for in, want := range map[string]uint64{"0": 1, "0-3,7": 0x8f, "7, 0-3": 0x8f, "63": 1 << 63} {
		if m, err := ParseList(in, 64); err != nil || len(m) != 1 || m[0] != want {
			t.Errorf("%q: %x, %v", in, m, err)
		}
	}
	for _, in := range []string{"", ",", "1,", "-1", "1-", "2-1", "64", "a", "1-2-3", "0x1", strings.Repeat("0,", 40000) + "0"} {
		if m, err := ParseList(in, 64); err == nil {
			t.Errorf("%.20q: %x", in, m)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("0-3,7")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseList(s, maxCPUs)
		if err == nil && (len(m) == 0 || len(m) > maxCPUs/64) {
			t.Errorf("%q: %d words", s, len(m))
		}
	})
}
