package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container/config"
	oci "berth/test/bundle"
)

// hostID is the first id of the test container's range.
const hostID = 0x7ffd0000

// run makes the configuration's container with the real runtime, which runs a
// script, and returns what it wrote.
func run(t *testing.T, c config.Config, script string, change func(*Inputs)) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes containers with id ranges of their own")
	}
	in := &Inputs{ID: oci.Name("spec"), Hostname: "box", Root: "rootfs", Host: Probe(), CgroupParent: "/"}
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostID, Size: 65536}}
	in.UIDs, in.GIDs = m, m
	if private, _ := PrivateUsers(&c, &UsernsFacts{Kernel: in.Host.Kernel}); !private {
		in.UIDs, in.GIDs = nil, nil
	}
	dev, err := Devices(&c)
	if err != nil {
		t.Fatal(err)
	}
	in.Devices = dev
	if change != nil {
		change(in)
	}
	c.Process.Args = []string{"/bin/sh", "-c", script}
	r, err := Resolve(&c, &ImageDefaults{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := Spec(&c, r, in)
	if err != nil {
		t.Fatal(err)
	}
	b := oci.New(t, func(b *oci.Bundle) error {
		b.Spec = made.Spec
		if in.UIDs == nil {
			return nil
		}
		return filepath.WalkDir(b.Rootfs, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, hostID, hostID)
		})
	})
	res := oci.Ours(t).Run(b)
	if res.Code != 0 {
		t.Errorf("exit code %d: %s", res.Code, res)
	}
	return res.Stdout
}

// Each flag has its effect in a real container, and without the flag it has not.
func TestRealContainers(t *testing.T) {
	pids := "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"
	status := func(field string) string { return "grep '^" + field + ":' /proc/self/status | tr -d '\\t '" }
	for _, x := range []struct {
		name   string
		c      config.Config
		script string
		with   string
		out    string // without the flag
	}{
		{"cap-drop", sec(config.Security{CapDrop: []string{"ALL"}, CapAdd: []string{"CHOWN"}}), status("CapBnd"), "CapBnd:0000000000000001", "CapBnd:00000000a80425fb"},
		{"seccomp", sec(config.Security{Seccomp: "unconfined"}), status("Seccomp"), "Seccomp:0", "Seccomp:2"},
		{"no-new-privileges", sec(config.Security{NoNewPrivileges: true}), status("NoNewPrivs"), "NoNewPrivs:1", "NoNewPrivs:0"},
		{"read-only", sec(config.Security{ReadOnlyRoot: true}), "touch /x 2>/dev/null && echo written || echo refused", "refused", "written"},
		{"sysctl", sec(config.Security{Sysctls: map[string]string{"net.ipv4.ip_default_ttl": "77"}}), "cat /proc/sys/net/ipv4/ip_default_ttl", "77", "64"},
		{"unmask", sec(config.Security{SystemPaths: "unconfined"}), "head -c1 /proc/kallsyms | wc -c", "1", "0"},
		{"pids-limit", res(config.Resources{Pids: ptr[int64](77)}), pids, "77", "4096"},
		{"ulimit", res(config.Resources{Ulimits: []config.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}}), "ulimit -Sn", "100", "1024"},
		{"shm-size", res(config.Resources{ShmSize: 1 << 20}), "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024", "65536"},
		{"oom-score-adj", res(config.Resources{OOMScoreAdj: ptr(300)}), "cat /proc/self/oom_score_adj", "300", "0"},
		{"umask", config.Config{Process: config.Process{Umask: "077"}}, "umask", "0077", "0022"},
		{"env", config.Config{Process: config.Process{Env: []string{"HOSTNAME=x"}}}, "echo $HOSTNAME", "x", "box"},
		{"workdir", config.Config{Process: config.Process{WorkDir: "/tmp"}}, "pwd", "/tmp", "/"},
		{"device", config.Config{Devices: config.Devices{Add: []config.Device{{Host: "/dev/zero", Container: "/dev/nought"}}}},
			"head -c3 /dev/nought 2>/dev/null | wc -c; stat -c %u /dev/nought 2>/dev/null || true", "3\n0", "0"},
		{"userns host", nss(config.Namespaces{User: "host"}), "tr -s ' ' < /proc/self/uid_map", " 0 0 4294967295", " 0 2147287040 65536"},
		{"uts host", nss(config.Namespaces{UTS: "host"}), "hostname", hostname(t), "box"},
		{"ipc none", nss(config.Namespaces{IPC: "none"}), "grep -c ' /dev/shm ' /proc/mounts || true", "0", "1"},
		{"pid host", nss(config.Namespaces{PID: "host"}), "test $$ = 1 && echo own || echo host", "host", "own"},
		{"network host", config.Config{Network: config.Network{Mode: "host"}}, "readlink /proc/self/ns/net", link(t, "/proc/self/ns/net"), ""},
		{"privileged", sec(config.Security{Privileged: true}), "test -w /sys/kernel && grep -c 'cgroup.*ro,' /proc/mounts >/dev/null && echo ro || echo rw; " + status("Seccomp"), "rw\nSeccomp:0", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got := strings.TrimRight(run(t, x.c, x.script, nil), "\n"); got != x.with {
				t.Errorf("with it: %q, want %q", got, x.with)
			}
			got := strings.TrimRight(run(t, config.Config{}, x.script, nil), "\n")
			if got == x.with || x.out != "" && got != x.out {
				t.Errorf("without it: %q, want %q", got, x.out)
			}
		})
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func link(t *testing.T, path string) string {
	t.Helper()
	to, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// What the container's root writes into a bind belongs to root on the host, as
// with Docker, and the files bound over /etc are as they were written.
func TestRealMounts(t *testing.T) {
	dir, etc := t.TempDir(), t.TempDir()
	how, can, err := IDMapping(dir, kernel())
	if err != nil {
		t.Fatal(err)
	}
	if !can {
		t.Skip("the file system of the temporary folder cannot be id-mapped by this kernel")
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(etc, "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1\tlocalhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(hosts, hostID, hostID); err != nil {
			t.Fatal(err)
		}
	}
	script := `stat -c %u /data/mine; cat /data/mine; echo; echo y > /data/new; touch /data/ro/x 2>/dev/null || echo refused
		stat -c %u /etc/hosts; cat /etc/hosts; grep ' /scratch ' /proc/mounts | grep -o 'size=[^,]*'; stat -c %a /scratch`
	got := run(t, config.Config{}, script, func(in *Inputs) {
		in.Files.Hosts = hosts
		in.Mounts = []Mount{
			{Kind: "bind", Source: dir, Target: "/data/ro", ReadOnly: true, IDMap: how},
			{Kind: "bind", Source: dir, Target: "/data", IDMap: how},
			{Kind: "tmpfs", Target: "/scratch", Size: 1 << 20, Mode: 0o1770},
		}
	})
	want := "0\nx\nrefused\n0\n127.0.0.1\tlocalhost\nsize=1024k\n1770\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	st, err := os.Stat(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := statUID(st); uid != 0 {
		t.Errorf("the file that the container's root wrote belongs to %d", uid)
	}
}

func statUID(st os.FileInfo) uint32 { return st.Sys().(*syscall.Stat_t).Uid }
