package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// procAttacks make the runtime's writes to /proc go elsewhere: class V4.
func procAttacks() []attack {
	return []attack{
		{name: "V4-proc-is-a-link", try: procIsLink, guard: "guard_off_safepath,guard_off_procfd"},
		{name: "V4-volume-over-proc", try: volumeOverProc, guard: "guard_off_procfd"},
		{name: "V4-volume-below-proc", try: volumeBelowProc, guard: "guard_off_procfd"},
		{name: "V4-exec-after-proc-was-covered", try: procCovered, control: decoyByHand},
	}
}

// decoy is a host folder that looks like /proc to a write by path.
func decoy(t *testing.T) *canary {
	return newCanary(t, "self/attr/exec", "self/oom_score_adj", "self/setgroups", "self/status", "self/fd/x",
		"thread-self/attr/exec", "sys/net/ipv4/ip_forward", "sys/kernel/msgmax", "1/oom_score_adj", "self/attr/apparmor/exec",
		"self/attr/current", "1/attr/exec", "self/uid_map", "sysrq-trigger", "keys")
}

// written is what makes the runtime write to /proc.
func written() bundle.Option {
	return bundle.Edit(func(s *specs.Spec) {
		n := 500
		s.Process.OOMScoreAdj = &n
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536"}
	})
}

// decoyByHand writes where the runtime might.
func decoyByHand(t *testing.T, _ *bundle.Runtime) string {
	c := decoy(t)
	if err := os.WriteFile(filepath.Join(c.dir, "self/oom_score_adj"), []byte("600"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c.changed()
}

// procIsLink: the image's /proc is a link, absolute and relative, inside the
// root and out of it.
func procIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := decoy(t)
	for _, target := range []string{c.dir, "../../../../../../.." + c.dir, "/tmp"} {
		b := bundle.New(t, written(), func(b *bundle.Bundle) error {
			if err := os.Remove(filepath.Join(b.Rootfs, "proc")); err != nil {
				return err
			}
			return os.Symlink(target, filepath.Join(b.Rootfs, "proc"))
		})
		res := rt.Run(b)
		if damage := c.changed(); damage != "" {
			return damage
		}
		if res.Code == 0 && last(mountsOf(res), "/proc") == nil {
			return "it ran with procfs elsewhere than on /proc"
		}
	}
	return ""
}

// volumeOverProc: something that is not procfs is mounted on /proc.
func volumeOverProc(t *testing.T, rt *bundle.Runtime) string {
	c := decoy(t)
	for _, m := range []specs.Mount{
		{Destination: "/proc", Type: "bind", Source: c.dir, Options: []string{"rbind"}},
		{Destination: "/proc", Type: "tmpfs", Source: "tmpfs"},
	} {
		b := bundle.New(t, written(), bundle.Mount(m))
		res := rt.Run(b)
		if damage := c.changed(); damage != "" {
			return damage
		}
		if res.Code == 0 {
			return fmt.Sprintf("it ran with a %s over /proc", m.Type)
		}
	}
	return ""
}

// volumeBelowProc: something is mounted on a folder that the runtime writes
// to.
func volumeBelowProc(t *testing.T, rt *bundle.Runtime) string {
	c := decoy(t)
	for _, below := range []string{"self", "self/attr", "sys", "sys/net", "thread-self", "1", "sys/kernel", "../proc/sys"} {
		for _, m := range []specs.Mount{
			{Destination: "/proc/" + below, Type: "bind", Source: filepath.Join(c.dir, below), Options: []string{"rbind"}},
			{Destination: "/proc/" + below, Type: "tmpfs", Source: "tmpfs"},
		} {
			b := bundle.New(t, written(), bundle.Mount(m))
			res := rt.Run(b)
			if damage := c.changed(); damage != "" {
				return damage
			}
			if res.Code == 0 {
				return fmt.Sprintf("it ran with a %s on /proc/%s", m.Type, below)
			}
		}
	}
	return ""
}

// procCovered: the container itself covers parts of its /proc, then somebody
// runs exec, which sets an oom score there.
func procCovered(t *testing.T, rt *bundle.Runtime) string {
	c := decoy(t)
	script := "mount --bind /decoy/self /proc/self/attr 2>/dev/null; mount --bind /decoy /proc && echo covered; exec /probe sleep 100"
	b := bundle.New(t, bundle.Bind(c.dir, "/decoy"), bundle.Caps("CAP_SYS_ADMIN"), bundle.Args("/bin/sh", "-c", script))
	id := rt.NewID()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := rt.Command("run", "--detach", "--bundle", b.Dir, id)
	cmd.Stdout = out
	if res := rt.Finish(cmd); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	waitFor(t, func() bool { data, _ := os.ReadFile(out.Name()); return strings.Contains(string(data), "covered") })
	process := filepath.Join(t.TempDir(), "process.json")
	text := `{"user": {"uid": 0, "gid": 0}, "args": ["/probe", "echo", "hi"], "cwd": "/", "oomScoreAdj": 600,
		"noNewPrivileges": true, "capabilities": {"bounding": ["CAP_CHOWN"]}}`
	if err := os.WriteFile(process, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rt.Do("exec", "--process", process, id)
	return c.changed()
}
