package bundle

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container/config"
)

var update = flag.Bool("update", false, "write testdata anew")

// flat turns a value into lines of path and value, so that a golden file of a
// flag is the lines that the flag changes.
func flat(t *testing.T, v any) []string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(at+"."+k, e)
			}
		case []any:
			if at == ".linux.namespaces" || at == ".mounts" || at == ".linux.devices" || at == ".linux.resources.devices" || at == ".process.rlimits" {
				for _, e := range v { // one line an element
					j, _ := json.Marshal(e)
					out = append(out, strings.TrimPrefix(at, ".")+" "+string(j))
				}
				return
			}
			j, _ := json.Marshal(v)
			if at != ".linux.seccomp.architectures" { // the machine's
				out = append(out, strings.TrimPrefix(at, ".")+" "+string(j))
			}
		default:
			j, _ := json.Marshal(v)
			out = append(out, strings.TrimPrefix(at, ".")+" "+string(j))
		}
	}
	walk("", tree)
	slices.Sort(out)
	return out
}

func inputs() *Inputs {
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 20, Size: 65536}}
	return &Inputs{
		ID: "id", Hostname: "box", Root: "/root", UIDs: m, GIDs: m, Init: "/run/berth/helper",
		Files: Files{Hostname: "/d/hostname", Hosts: "/d/hosts", Resolv: "/d/resolv.conf"}, Host: Host{CPUs: 4},
	}
}

type flagCase struct {
	name string
	c    config.Config
	in   func(*Inputs)
}

func res(r config.Resources) config.Config { return config.Config{Resources: r} }
func sec(s config.Security) config.Config  { return config.Config{Security: s} }
func nss(n config.Namespaces) config.Config {
	return config.Config{Namespaces: n}
}

var hostUsers = func(in *Inputs) { in.UIDs, in.GIDs = nil, nil }

func flagCases() []flagCase {
	return []flagCase{
		{"-t", config.Config{Stdio: config.Stdio{Terminal: true, Height: 24, Width: 80}}, nil},
		{"--init", config.Config{Process: config.Process{Init: true}}, nil},
		{"--umask 077", config.Config{Process: config.Process{Umask: "077"}}, nil},
		{"--tz", config.Config{Process: config.Process{TimeZone: "Europe/Paris"}}, nil},
		{"--domainname", config.Config{Domainname: "example.org"}, nil},
		{"--annotation", config.Config{Annotations: map[string]string{"a": "b"}}, nil},
		{"--read-only", sec(config.Security{ReadOnlyRoot: true}), nil},
		{"--cap-add SYS_ADMIN --cap-drop CHOWN", sec(config.Security{CapAdd: []string{"CAP_SYS_ADMIN"}, CapDrop: []string{"chown"}, Seccomp: "unconfined"}), nil},
		{"--cap-drop ALL", sec(config.Security{CapDrop: []string{"ALL"}, Seccomp: "unconfined"}), nil},
		{"--cap-drop ALL --cap-add KILL", sec(config.Security{CapDrop: []string{"ALL"}, CapAdd: []string{"KILL"}, Seccomp: "unconfined"}), nil},
		{"--cap-add ALL --cap-drop KILL", sec(config.Security{CapAdd: []string{"ALL"}, CapDrop: []string{"KILL"}, Seccomp: "unconfined"}), nil},
		{"podman's words", config.Config{Image: config.Image{Dialect: "podman"}, Security: config.Security{Seccomp: "unconfined"}}, nil},
		{"--security-opt no-new-privileges", sec(config.Security{NoNewPrivileges: true}), nil},
		{"--security-opt systempaths=unconfined", sec(config.Security{SystemPaths: "unconfined"}), nil},
		{"--security-opt mask, unmask", sec(config.Security{Mask: []string{"/proc/version"}, Unmask: []string{"/proc/a*:/proc/sys"}}), nil},
		{"--sysctl", sec(config.Security{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}), nil},
		{"--privileged", sec(config.Security{Privileged: true}), func(in *Inputs) {
			hostUsers(in)
			in.Host.Caps = 1<<len(capNames) - 1 - 1<<16
			in.Devices = &HostDevices{Nodes: []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}}, Rules: []specs.LinuxDeviceCgroup{{Allow: true}}}
		}},
		{"--nested", sec(config.Security{Nested: true}), nil},
		{"--nested --cap-drop", sec(config.Security{Nested: true, CapDrop: []string{"CAP_NET_ADMIN"}}), nil},
		{"--userns host", nss(config.Namespaces{User: "host"}), hostUsers},
		{"--network host", config.Config{Network: config.Network{Mode: "host"}}, hostUsers},
		{"--network none", config.Config{Network: config.Network{Mode: "none"}}, nil},
		{"--network container:x", config.Config{Network: config.Network{Mode: "container:x"}}, func(in *Inputs) {
			hostUsers(in)
			in.Join = Namespaces{User: "/proc/7/ns/user", Network: "/proc/7/ns/net"}
		}},
		{"--pid host", nss(config.Namespaces{PID: "host"}), hostUsers},
		{"--ipc host", nss(config.Namespaces{IPC: "host"}), hostUsers},
		{"--ipc none", nss(config.Namespaces{IPC: "none"}), nil},
		{"--uts host", nss(config.Namespaces{UTS: "host"}), nil},
		{"--cgroupns host", nss(config.Namespaces{Cgroup: "host"}), nil},
		{"--pid container:x", nss(config.Namespaces{PID: "container:x"}), func(in *Inputs) { in.Join.PID = "/proc/7/ns/pid" }},
		{"--memory 64m", res(config.Resources{Memory: config.Memory{Limit: 64 << 20}}), nil},
		{"--memory 64m, no swap accounting", res(config.Resources{Memory: config.Memory{Limit: 64 << 20}}), func(in *Inputs) { in.Host.NoSwapLimit = true }},
		{"--memory-swap -1 and more", res(config.Resources{Memory: config.Memory{Limit: 64 << 20, Swap: -1, Reservation: 32 << 20, Swappiness: ptr[uint64](0)}}), nil},
		{"--cpus 1.5", res(config.Resources{CPU: config.CPU{Nano: 1500000000}}), nil},
		{"--cpu-*", res(config.Resources{CPU: config.CPU{Shares: 512, Quota: 20000, Period: 50000, Cpus: "0-1", Mems: "0"}}), nil},
		{"--pids-limit -1", res(config.Resources{Pids: ptr[int64](-1)}), nil},
		{"--pids-limit 7", res(config.Resources{Pids: ptr[int64](7)}), nil},
		{"--oom-*", res(config.Resources{OOMScoreAdj: ptr(500), OOMKillDisable: true}), nil},
		{"--blkio-weight, --device-read-bps", res(config.Resources{Block: config.Block{Weight: 300, ReadBps: []config.DeviceNumber{{Path: "/dev/sda", Value: 1 << 20}}}}),
			func(in *Inputs) {
				in.Devices = &HostDevices{Block: map[string]DeviceID{"/dev/sda": {8, 0}}}
			}},
		{"--ulimit", res(config.Resources{Ulimits: []config.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}, {Name: "core", Soft: 0, Hard: -1}}}),
			func(in *Inputs) { in.Ulimits = []config.Ulimit{{Name: "nofile", Soft: 1, Hard: 1}} }},
		{"a host with few files", config.Config{}, func(in *Inputs) { in.Host.MaxFiles = 4096 }},
		{"--shm-size", res(config.Resources{ShmSize: 1 << 20}), nil},
		{"--cgroup-parent", res(config.Resources{CgroupParent: "/a/b"}), nil},
		{"systemd", config.Config{}, func(in *Inputs) { in.SystemdCgroup = true }},
		{"--device", config.Config{}, func(in *Inputs) {
			in.Devices = &HostDevices{Nodes: []specs.LinuxDevice{{Path: "/dev/kvm", Type: "c", Major: 10, Minor: 232}},
				Rules: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: ptr[int64](10), Minor: ptr[int64](232), Access: "rw"}}}
		}},
		{"mounts in order", config.Config{}, func(in *Inputs) {
			in.Mounts = []Mount{
				{Kind: "bind", Source: "/b", Target: "/a/b/c", IDMap: IDMapAll, Options: []string{"z", "noexec"}},
				{Kind: "volume", Source: "/v/_data", Target: "/a", IDMap: IDMapAll, ReadOnly: true},
				{Kind: "tmpfs", Target: "/run", Size: 1 << 20, Mode: 0o1770, Options: []string{"exec"}},
				{Kind: "bind", Source: "/n", Target: "/n", IDMap: IDMapAll, NonRecursive: true, Propagation: "rslave", ReadOnlyRecursive: true},
			}
		}},
		{"mounts over the default ones", config.Config{}, func(in *Inputs) {
			in.Mounts = []Mount{{Kind: "bind", Source: "/h", Target: "/etc/hosts"}, {Kind: "bind", Source: "/s", Target: "/dev/shm"}}
		}},
		{"--security-opt seccomp=…", sec(config.Security{Seccomp: `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chroot"],"action":"SCMP_ACT_ERRNO"}]}`}), nil},
		{"--security-opt apparmor, label", config.Config{}, func(in *Inputs) {
			in.Labels = Labels{AppArmor: "p", SELinux: "system_u:r:t:s0", SELinuxMount: "system_u:o:t:s0"}
		}},
	}
}

func make1(t *testing.T, f flagCase) []string {
	t.Helper()
	in := inputs()
	if f.in != nil {
		f.in(in)
	}
	b, err := Spec(&f.c, &Resolved{Cmd: []string{"sh"}, User: "www"}, in)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	if b.User != "www" {
		t.Errorf("%s: user %q", f.name, b.User)
	}
	return flat(t, b.Spec)
}

// Each flag changes what its golden lines say, and nothing else.
func TestGoldenSpecs(t *testing.T) {
	plain := make1(t, flagCase{name: "nothing asked"})
	var got strings.Builder
	got.WriteString("# what a container gets that asks for nothing\n")
	for _, line := range plain {
		if !strings.HasPrefix(line, "linux.seccomp.syscalls") {
			got.WriteString(line + "\n")
		}
	}
	for _, f := range flagCases() {
		got.WriteString("\n# " + f.name + "\n")
		now := make1(t, f)
		for _, side := range []struct {
			sign       string
			here, than []string
		}{{"-", plain, now}, {"+", now, plain}} {
			for _, line := range side.here {
				if !slices.Contains(side.than, line) {
					if strings.HasPrefix(line, "linux.seccomp.syscalls") && len(line) > 500 {
						line = "linux.seccomp.syscalls …"
					}
					fmt.Fprintln(&got, side.sign+" "+line)
				}
			}
		}
	}
	const file = "testdata/specs.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
}

func TestSpecErrors(t *testing.T) {
	for want, f := range map[string]flagCase{
		`invalid CapAdd: unknown capability: "CAP_FOO"`:                                  {c: sec(config.Security{CapAdd: []string{"FOO"}})},
		`invalid CapDrop: unknown capability: "CAP_FOO"`:                                 {c: sec(config.Security{CapDrop: []string{"cap_foo"}})},
		"Minimum memory limit allowed is 6MB":                                            {c: res(config.Resources{Memory: config.Memory{Limit: 1 << 20}})},
		"Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available":         {c: res(config.Resources{CPU: config.CPU{Nano: 5e9}})},
		"Invalid value -2000, range for oom score adj is [-1000, 1000]":                  {c: res(config.Resources{OOMScoreAdj: ptr(-2000)})},
		"invalid mount path: 'x' mount path must be absolute and not '/'":                {in: func(in *Inputs) { in.Mounts = []Mount{{Kind: "bind", Source: "/a", Target: "x"}} }},
		"invalid propagation mode: odd":                                                  {in: func(in *Inputs) { in.Mounts = []Mount{{Kind: "bind", Source: "/a", Target: "/x", Propagation: "odd"}} }},
		"invalid ulimit type: files":                                                     {c: res(config.Resources{Ulimits: []config.Ulimit{{Name: "files"}}})},
		"ulimit soft limit must be less than or equal to hard limit: 2 > 1":              {c: res(config.Resources{Ulimits: []config.Ulimit{{Name: "core", Soft: 2, Hard: 1}}})},
		`sysctl "a" has a line break or NUL byte`:                                        {c: sec(config.Security{Sysctls: map[string]string{"a": "1\n2"}})},
		"container:x: no namespace was found for the network namespace":                  {c: config.Config{Network: config.Network{Mode: "container:x"}}},
		"an argument of the command has a NUL byte":                                      {c: config.Config{}, in: nil},
		"seccomp profile: Decoding seccomp profile failed: unexpected end of JSON input": {c: sec(config.Security{Seccomp: "{"})},
		`cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"`:  {c: res(config.Resources{CgroupParent: "/x"}), in: func(in *Inputs) { in.SystemdCgroup = true }},
	} {
		in := inputs()
		if f.in != nil {
			f.in(in)
		}
		r := &Resolved{Cmd: []string{"sh"}}
		if strings.Contains(want, "an argument") {
			r.Cmd = []string{"a\x00"}
		}
		if _, err := Spec(&f.c, r, in); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPrivateUsers(t *testing.T) {
	f := &UsernsFacts{}
	for _, c := range []struct {
		name    string
		c       config.Config
		f       *UsernsFacts
		private bool
		reason  string
	}{
		{"default", config.Config{}, f, true, ""},
		{"host", nss(config.Namespaces{User: "host"}), f, false, "--userns=host was asked for"},
		{"privileged", sec(config.Security{Privileged: true}), f, false, "it is privileged"},
		{"nested", sec(config.Security{Nested: true}), f, true, ""},
		{"privileged and private", config.Config{Security: config.Security{Privileged: true}, Namespaces: config.Namespaces{User: "private"}}, f, true, ""},
		{"network", config.Config{Network: config.Network{Mode: "host"}}, f, false, "it has the host's network"},
		{"network by path", config.Config{Network: config.Network{Mode: "ns:/run/netns/x"}}, f, false, "it joins a network namespace that it does not own"},
		{"pid", nss(config.Namespaces{PID: "host"}), f, false, "it has the host's processes"},
		{"ipc", nss(config.Namespaces{IPC: "host"}), f, false, "it has the host's IPC"},
		{"uts", nss(config.Namespaces{UTS: "host"}), f, true, ""},
		{"joined", config.Config{Network: config.Network{Mode: "container:x"}}, f, false, ""},
		{"old kernel", config.Config{}, &UsernsFacts{Kernel: Kernel{5, 10}}, false, "this kernel cannot id-map layers, which takes Linux 5.19"},
		{"6.1", config.Config{}, &UsernsFacts{Kernel: Kernel{6, 1}}, true, ""},
		{"nfs", config.Config{}, &UsernsFacts{Unmappable: []string{"/nfs"}}, false, "the file system of /nfs cannot be id-mapped"},
		{"rootless", config.Config{}, &UsernsFacts{Rootless: true}, false, ""},
	} {
		if p, r := PrivateUsers(&c.c, c.f); p != c.private || r != c.reason {
			t.Errorf("%s: %v %q", c.name, p, r)
		}
	}
	c := config.Config{Process: config.Process{Groups: []string{"70000", "5", "wheel"}}}
	uids, gids := LargeIDs(&c, &Resolved{User: "1234567:4294967295"}, 65536)
	if fmt.Sprint(uids, gids) != "[1234567] [70000]" {
		t.Error(uids, gids)
	}
}
