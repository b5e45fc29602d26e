package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// configAttacks are in values of config.json: classes V13 and V14.
func configAttacks() []attack {
	return []attack{
		{name: "V13-sysctl-of-the-host", guard: "guard_off_sysctl", try: sysctlOfHost},
		{name: "V13-sysctl-with-a-path", try: sysctlPath, control: sysctlOwn},
		{name: "V13-cgroup-path", try: cgroupPath, control: cgroupByHand},
		{name: "V13-annotations", try: annotations, control: annotatedByHand},
		{name: "V14-hook-environment", guard: "guard_off_hookenv", runc: true, try: hookEnvironment},
		{name: "V14-hook-path", try: hookPath, control: hookByHand},
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 100 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("waited 5 s in vain")
}

func readHost(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

// tryHostSysctl sets one of the host's parameters to the value that it has,
// so that success does no harm, and tells whether the runtime went along.
func tryHostSysctl(t *testing.T, rt *bundle.Runtime, key, value string, options ...bundle.Option) string {
	t.Helper()
	b := bundle.New(t, append([]bundle.Option{bundle.Args("/probe", "echo", "ran"), bundle.Edit(func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{key: value}
	})}, options...)...)
	if res := rt.Run(b); res.Code == 0 {
		return fmt.Sprintf("sysctl %q was accepted", key)
	}
	return ""
}

func sysctlOfHost(t *testing.T, rt *bundle.Runtime) string {
	for key, path := range map[string]string{"kernel.core_pattern": "kernel/core_pattern", "vm.swappiness": "vm/swappiness",
		"kernel.pid_max": "kernel/pid_max", "fs.file-max": "fs/file-max", "kernel.modprobe": "kernel/modprobe"} {
		if damage := tryHostSysctl(t, rt, key, readHost("/proc/sys/"+path)); damage != "" {
			return damage
		}
	}
	if damage := tryHostSysctl(t, rt, "net.ipv4.ip_forward", readHost("/proc/sys/net/ipv4/ip_forward"),
		bundle.Share(specs.NetworkNamespace)); damage != "" {
		return damage
	}
	return tryHostSysctl(t, rt, "kernel.shmmax", readHost("/proc/sys/kernel/shmmax"), bundle.Share(specs.IPCNamespace))
}

// sysctlOwn sets a parameter of the container's own, which is allowed.
func sysctlOwn(t *testing.T, rt *bundle.Runtime) string {
	return tryHostSysctl(t, rt, "net.ipv4.ip_forward", "0")
}

// sysctlPath: an allowed beginning, then a way up.
func sysctlPath(t *testing.T, rt *bundle.Runtime) string {
	swappiness := readHost("/proc/sys/vm/swappiness")
	for _, key := range []string{"net/../vm/swappiness", "net.ipv4/../../vm/swappiness", "kernel.msg/../../vm/swappiness",
		"fs.mqueue/../../vm/swappiness", "net...vm.swappiness", "net//../vm/swappiness", "/vm/swappiness", "net"} {
		if damage := tryHostSysctl(t, rt, key, swappiness); damage != "" {
			return damage
		}
	}
	for _, value := range []string{"0\n1", "1\x00", "1\r"} {
		if damage := tryHostSysctl(t, rt, "net.ipv4.ip_forward", value); damage != "" {
			return fmt.Sprintf("%s with value %q", damage, value)
		}
	}
	return ""
}

// cgroupPath: the path of the container's cgroup leads out of the hierarchy.
func cgroupPath(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t)
	name := bundle.Name("up")
	for _, path := range []string{"../../../../.." + c.dir + "/" + name, "/../../../.." + c.dir + "/" + name,
		"/x/../../../../../.." + c.dir + "/" + name, c.dir + "/../" + name + "/../../../" + c.dir} {
		b := bundle.New(t, bundle.Args("/probe", "sleep", "2"), bundle.Edit(func(s *specs.Spec) { s.Linux.CgroupsPath = path }))
		id := rt.NewID()
		res := rt.Do("run", "--detach", "--bundle", b.Dir, id)
		if damage := c.changed(); damage != "" {
			return damage
		}
		if res.Code != 0 {
			continue
		}
		own := readHost(fmt.Sprintf("/proc/%s/cgroup", strings.Trim(rt.Must("ps", "--format", "json", id).Stdout, "[]\n")))
		rt.Remove(id)
		removeBelow(own)
		if own == "" || strings.Contains(own, "..") {
			return fmt.Sprintf("cgroupsPath %q led to %s", path, own)
		}
	}
	return ""
}

// removeBelow takes out the folders that a strange path made in the
// hierarchies: each line of /proc/PID/cgroup names one.
func removeBelow(cgroups string) {
	for line := range strings.Lines(cgroups) {
		path := line[strings.LastIndexByte(line, ':')+1:]
		for p := strings.TrimSpace(path); strings.HasPrefix(p, "/tmp/"); p = filepath.Dir(p) {
			dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + p)
			for _, dir := range dirs {
				_ = os.Remove(dir)
			}
		}
	}
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/tmp")
	for _, dir := range dirs {
		_ = os.Remove(dir)
	}
}

// cgroupByHand makes what cgroupPath looks for, to see that it would notice.
func cgroupByHand(t *testing.T, _ *bundle.Runtime) string {
	c := newCanary(t)
	if err := os.Mkdir(filepath.Join(c.dir, bundle.Name("up")), 0o755); err != nil {
		t.Fatal(err)
	}
	return c.changed()
}

// hostile are annotations that some runtime obeys.
func hostile(dir string) map[string]string {
	return map[string]string{
		"run.oci.delegate-cgroup": "../../../.." + dir, "run.oci.keep_original_groups": "1",
		"run.oci.hooks.stdout": dir + "/out", "run.oci.hooks.stderr": dir + "/err", "run.oci.systemd.subgroup": "../..",
		"run.oci.seccomp.plugins": dir + "/plugin.so", "run.oci.pidfd_receiver": dir + "/socket", "run.oci.handler": "krun",
		"run.oci.seccomp_fail_unknown_syscall": "1", "org.systemd.property.ExecStart": "/bin/touch " + dir + "/x",
		"io.berth.test": "x\ny",
	}
}

// annotations do nothing, whatever they say.
func annotations(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t)
	b := bundle.New(t, bundle.User(1000, 1000), bundle.Edit(func(s *specs.Spec) { s.Annotations = hostile(c.dir) }))
	res := rt.Run(b)
	if damage := c.changed(); damage != "" || res.Code != 0 {
		return damage
	}
	if groups := res.Report(t).IDs.Groups; len(groups) > 1 {
		return fmt.Sprintf("an annotation changed the groups to %v", groups)
	}
	return ""
}

// annotatedByHand gives the process by its configuration what the
// annotations ask for, to see that the test would notice.
func annotatedByHand(t *testing.T, rt *bundle.Runtime) string {
	res := rt.Run(bundle.New(t, bundle.User(1000, 1000, 7, 8)))
	if groups := res.Report(t).IDs.Groups; len(groups) > 1 {
		return fmt.Sprintf("groups %v", groups)
	}
	return ""
}

// hookEnvironment: a hook gets neither the caller's environment nor the
// container's.
func hookEnvironment(t *testing.T, rt *bundle.Runtime) string {
	record := filepath.Join(t.TempDir(), "record")
	hook := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "/usr/bin/env >>" + record + "; /bin/pwd >>" + record}}
	b := bundle.New(t, bundle.Args("/probe", "echo", "ran"), bundle.Env("LD_PRELOAD=/evil-container.so", "FROM_CONTAINER=1"),
		bundle.Edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{hook}, CreateContainer: []specs.Hook{hook},
				Poststart: []specs.Hook{hook}, Poststop: []specs.Hook{hook}}
		}))
	cmd := rt.Command("run", "--bundle", b.Dir, rt.NewID())
	cmd.Env = append(os.Environ(), "FROM_CALLER=1", "LD_LIBRARY_PATH=/evil-caller")
	if res := rt.Finish(cmd); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	text := readHost(record)
	if strings.Count(text, "PWD=") < 4 && strings.Count(text, "/") < 4 {
		t.Errorf("not all hooks ran: %q", text)
	}
	for _, word := range []string{"FROM_CALLER", "FROM_CONTAINER", "LD_PRELOAD", "LD_LIBRARY_PATH"} {
		if strings.Contains(text, word) {
			return "a hook's environment has " + word
		}
	}
	return ""
}

// evilHook is a bundle whose image brings a program with a host program's
// name, and a working folder with one.
func evilHook(t *testing.T, path string) (*bundle.Bundle, string) {
	record := filepath.Join(t.TempDir(), "ran")
	evil := "#!/bin/sh\ntouch " + record + "\n"
	b := bundle.New(t, bundle.Args("/probe", "echo", "ran"), bundle.File("/bin/nvidia-hook", evil, 0o755),
		bundle.File("/nvidia-hook", evil, 0o755), bundle.Env("PATH=/bin:/"), bundle.Edit(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: path}}, CreateContainer: []specs.Hook{{Path: path}}}
		}))
	if err := os.WriteFile(filepath.Join(b.Dir, "nvidia-hook"), []byte(evil), 0o755); err != nil {
		t.Fatal(err)
	}
	return b, record
}

// hookPath: a hook's path that is relative, or that only the image has, is
// never looked up in the container's folders or PATH.
func hookPath(t *testing.T, rt *bundle.Runtime) string {
	for _, path := range []string{"nvidia-hook", "./nvidia-hook", "bin/nvidia-hook", "/bin/nvidia-hook", "rootfs/bin/nvidia-hook", ""} {
		b, record := evilHook(t, path)
		res := rt.Run(b)
		if _, err := os.Stat(record); err == nil {
			return fmt.Sprintf("hook %q ran a program of the image or the bundle", path)
		}
		if res.Code == 0 {
			return fmt.Sprintf("hook %q was accepted", path)
		}
	}
	return ""
}

// hookByHand names the image's program by its whole host path.
func hookByHand(t *testing.T, rt *bundle.Runtime) string {
	b, record := evilHook(t, "/nvidia-hook")
	b.Spec.Hooks.CreateRuntime[0].Path = filepath.Join(b.Rootfs, "nvidia-hook")
	b.Spec.Hooks.CreateContainer = nil
	b.Write(t)
	rt.Run(b)
	if _, err := os.Stat(record); err == nil {
		return "it ran"
	}
	return ""
}
