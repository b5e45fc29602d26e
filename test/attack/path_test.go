package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/bundle"
	"berth/test/bundle/report"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// pathAttacks lay links where the runtime writes and mounts: classes V3, V5
// and V6.
func pathAttacks() []attack {
	return []attack{
		{name: "V3-null-device-is-a-link", runc: true, guard: "guard_off_maskfd", try: nullIsLink},
		{name: "V3-console-is-a-link", guard: "guard_off_consolefd", try: consoleIsLink},
		{name: "V5-target-swapped", guard: "guard_off_safepath", try: targetSwapped},
		{name: "V6-dev-is-a-link", runc: true, guard: "guard_off_safepath", try: devIsLink},
		{name: "V6-dev-below-is-a-link", guard: "guard_off_safepath", try: devBelowIsLink},
		{name: "V6-working-folder-is-a-link", guard: "guard_off_safepath", try: cwdIsLink},
		{name: "V6-mount-target-is-a-link", guard: "guard_off_safepath", try: targetIsLink},
	}
}

// rootDev takes the mounts below /dev out: the image's own /dev is used.
func rootDev() bundle.Option {
	return func(b *bundle.Bundle) error {
		for _, target := range []string{"/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"} {
			if err := bundle.Unmount(target)(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// nullIsLink: masked files are covered by the image's /dev/null, which is a
// link to a file of procfs that the container then gets writable.
func nullIsLink(t *testing.T, rt *bundle.Runtime) string {
	// Its output goes to a file: runc 1.1 replaces the standard ones by what it
	// takes for the null device.
	b := bundle.New(t, rootDev(), bundle.Args("/bin/sh", "-c", "/probe >/report"), bundle.Symlink("/proc/version", "/dev/null"), bundle.File("/secret", "hidden", 0o600),
		bundle.Edit(func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/proc/keys", "/proc/timer_list", "/secret"} }))
	res := rt.Run(b)
	if res.Code != 0 {
		return "" // refused
	}
	res.Stdout = readHost(filepath.Join(b.Rootfs, "report"))
	for _, target := range b.Spec.Linux.MaskedPaths {
		if m := last(res.Report(t).Mounts, target); m != nil && !hides(m) {
			return fmt.Sprintf("%s is covered by %+v", target, *m)
		}
	}
	return ""
}

func last(all []report.Mount, target string) *report.Mount {
	for _, m := range slices.Backward(all) {
		if m.Target == target {
			return &m
		}
	}
	return nil
}

// hides tells whether a mount on a masked path is a null device or a
// read-only empty folder.
func hides(m *report.Mount) bool {
	if m.Type == "devtmpfs" || m.Type == "tmpfs" {
		return strings.HasSuffix(m.Root, "/null") || m.Root == "/" || slices.Contains(m.Options, "ro")
	}
	return false
}

// consoleIsLink: the terminal is bound over /dev/console, a link in the
// image to a file that the container wants covered or made.
func consoleIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "file")
	for _, target := range []string{c.dir + "/file", c.dir + "/new", "/proc/sysrq-trigger", "/etc/passwd", "../etc/passwd"} {
		b := bundle.New(t, rootDev(), bundle.Terminal(0, 0), bundle.Symlink(target, "/dev/console"), bundle.Mount(specs.Mount{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}))
		res := withTerminal(t, rt, b)
		target = strings.TrimPrefix(target, "..")
		if damage := c.changed(); damage != "" {
			return damage
		}
		if m := last(mountsOf(res), target); m != nil && m.Type == "devpts" {
			return fmt.Sprintf("the terminal is on %s: %+v", target, *m)
		}
		if _, err := os.Lstat(filepath.Join(b.Rootfs, c.dir)); err == nil {
			return "made in the root file system through the link"
		}
	}
	return ""
}

// targetSwapped: while containers start that mount into a shared volume,
// another container swaps a folder there for a link to the host's canary.
func targetSwapped(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "file")
	volume := t.TempDir()
	for _, dir := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(volume, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(c.dir, filepath.Join(volume, "link")); err != nil {
		t.Fatal(err)
	}
	racer := bundle.New(t, bundle.Bind(volume, "/vol"), bundle.Args("/probe", "exchange", "/vol/a", "/vol/link", "60"))
	id := rt.Start(racer)
	defer rt.Remove(id)
	victim := bundle.New(t, bundle.Bind(volume, "/vol"))
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	started, refused := 0, 0
	for i := range rounds(500) {
		n := len(victim.Spec.Mounts)
		target := fmt.Sprintf("/vol/a/deep%d/below", i)
		victim.Spec.Mounts = append(victim.Spec.Mounts, specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs"},
			specs.Mount{Destination: fmt.Sprintf("/vol/a/file%d", i), Type: "bind", Source: "/etc/hostname", Options: []string{"bind"}})
		victim.Write(t)
		if res := rt.Run(victim); res.Code == 0 {
			started++
		} else {
			refused++
		}
		victim.Spec.Mounts = victim.Spec.Mounts[:n]
		if damage := c.changed(); damage != "" {
			return fmt.Sprintf("start %d: %s", i, damage)
		}
	}
	t.Logf("%d started, %d refused", started, refused)
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && strings.Contains(string(after), c.dir) && !strings.Contains(string(before), c.dir) {
		return "the host has a mount on the canary"
	}
	return ""
}

// devIsLink: the image's /dev is a link to a folder of the host.
func devIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t)
	b := bundle.New(t, rootDev(), bundle.Symlink(c.dir, "/dev"))
	rt.Run(b)
	return c.changed()
}

// devBelowIsLink: what is made below /dev, or a folder on the way to it, is
// a link.
func devBelowIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "file")
	mode := os.FileMode(0o666)
	for _, links := range [][2]string{{c.dir + "/new", "/dev/fd"}, {c.dir + "/file", "/dev/null"}, {c.dir, "/dev/below"},
		{c.dir + "/file", "/dev/ptmx"}, {"../../../../../../../../.." + c.dir, "/dev/below"}} {
		b := bundle.New(t, rootDev(), bundle.Symlink(links[0], links[1]), bundle.Edit(func(s *specs.Spec) {
			s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: "/dev/below/x", Type: "c", Major: 1, Minor: 3, FileMode: &mode})
		}))
		rt.Run(b)
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}

// cwdIsLink: the working folder, which is made when missing, lies behind a
// link to the host.
func cwdIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t)
	for _, target := range []string{c.dir, "../../../../../../../../.." + c.dir} {
		b := bundle.New(t, bundle.Symlink(target, "/work"), bundle.Cwd("/work/made/here"))
		rt.Run(b)
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}

// targetIsLink: the target of a mount, which is made when missing, lies
// behind a link to the host.
func targetIsLink(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "file")
	for _, target := range []string{c.dir, "../../../../../../../../.." + c.dir} {
		b := bundle.New(t, bundle.Symlink(target, "/link"), bundle.Mount(specs.Mount{Destination: "/link/made", Type: "tmpfs", Source: "x"}),
			bundle.Bind("/etc/hostname", "/link/made-file"), bundle.Bind("/etc/hostname", "/link/file", "bind"),
			bundle.Mount(specs.Mount{Destination: "/link/up", Type: "tmpfs", Source: "x", Options: []string{"tmpcopyup"}}))
		rt.Run(b)
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}
