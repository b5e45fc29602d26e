package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"berth/test/bundle"
	"berth/test/bundle/report"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// privilegeAttacks look for rights that a container should not have: classes
// V18, V19, V23, V27, V30.
func privilegeAttacks() []attack {
	return []attack{
		{name: "V18-capabilities", guard: "guard_off_inheritable", try: capabilities},
		{name: "V18-capabilities-user", control: ambientByHand, try: capabilitiesUser},
		{name: "V19-cgroup-escape", control: cgroupWithAdmin, try: func(t *testing.T, rt *bundle.Runtime) string {
			return cgroupEscape(t, rt, bundle.Seccomp())
		}},
		{name: "V23-session-keyring", control: keyringKept, try: func(t *testing.T, rt *bundle.Runtime) string {
			return sessionKey(t, rt)
		}},
		{name: "V23-host-facts", control: factsUnmasked, try: func(t *testing.T, rt *bundle.Runtime) string {
			return hostFacts(t, rt)
		}},
		{name: "V23-caller-environment", try: callerEnvironment, guard: "guard_off_dumpable"},
		{name: "V27-terminal-input", control: inputByHand, try: terminalInput},
		{name: "V30-kernel-surface", control: surfaceOpen, try: func(t *testing.T, rt *bundle.Runtime) string {
			return kernelSurface(t, rt, bundle.Seccomp())
		}},
	}
}

// excess names the first set that has what it should not.
func excess(c report.Caps, who string) string {
	if len(c.Inheritable) > 0 {
		return fmt.Sprintf("%s: inheritable %v", who, c.Inheritable)
	}
	if len(c.Ambient) > 0 {
		return fmt.Sprintf("%s: ambient %v", who, c.Ambient)
	}
	if extra := len(c.Bounding) - len(bundle.DockerCaps()); extra > 0 {
		return fmt.Sprintf("%s: bounding %v", who, c.Bounding)
	}
	return ""
}

// capabilities: root's program and execs have no inheritable and no ambient
// capability unless the configuration says so; exec --cap adds none either.
func capabilities(t *testing.T, rt *bundle.Runtime) string {
	if damage := excess(rt.Run(bundle.New(t)).Report(t).Caps, "run"); damage != "" {
		return damage
	}
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "100")))
	for _, options := range [][]string{{}, {"--cap", "CAP_KILL"}, {"--cap", "CAP_CHOWN", "--no-new-privs"}} {
		words := append(append([]string{"exec"}, options...), id, "/probe")
		if damage := excess(rt.Must(words...).Report(t).Caps, "exec"); damage != "" {
			return damage
		}
	}
	return ""
}

// capabilitiesUser: a user's program has none in effect, and none to get.
func capabilitiesUser(t *testing.T, rt *bundle.Runtime) string {
	check := func(c report.Caps, who string) string {
		if len(c.Effective)+len(c.Permitted) > 0 {
			return fmt.Sprintf("%s: effective %v, permitted %v", who, c.Effective, c.Permitted)
		}
		return excess(c, who)
	}
	if damage := check(rt.Run(bundle.New(t, bundle.User(1000, 1000))).Report(t).Caps, "run"); damage != "" {
		return damage
	}
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "100")))
	return check(rt.Must("exec", "--user", "1000:1000", id, "/probe").Report(t).Caps, "exec")
}

func ambientByHand(t *testing.T, rt *bundle.Runtime) string {
	b := bundle.New(t, bundle.User(1000, 1000), bundle.Edit(func(s *specs.Spec) {
		s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"}
		s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"}
	}))
	return excess(rt.Run(b).Report(t).Caps, "run")
}

// cgroupEscape: neither the container's cgroup mount nor a new one gives the
// release agent or another group away; a new user namespace does not help.
func cgroupEscape(t *testing.T, rt *bundle.Runtime, options ...bundle.Option) string {
	verbs := strings.Fields(`mkdir /sys/fs/cgroup/pids/x -- mkdir /sys/fs/cgroup/memory/x
		-- write /sys/fs/cgroup/memory/release_agent /x -- write /sys/fs/cgroup/cpu/notify_on_release 1
		-- write /sys/fs/cgroup/pids/cgroup.procs 1 -- write /sys/fs/cgroup/devices/devices.allow a
		-- mkdir /tmp/cg -- mount cgroup /tmp/cg cgroup 0 memory -- mount cgroup2 /tmp/cg cgroup2
		-- mount none /sys/fs/cgroup tmpfs 0x20 -- unshare 0x10000000 -- unshare 0x02000000`)
	b := bundle.New(t, append([]bundle.Option{bundle.Do(verbs...)}, options...)...)
	id := rt.NewID()
	res := rt.Do("run", "--bundle", b.Dir, id)
	for _, a := range res.Answers(t) {
		if a.Err == "" && !strings.HasPrefix(a.Verb, "mkdir /tmp") {
			return a.Verb + ": " + a.Out
		}
	}
	return ""
}

func cgroupWithAdmin(t *testing.T, rt *bundle.Runtime) string {
	return cgroupEscape(t, rt, bundle.Caps(append(bundle.DockerCaps(), "CAP_SYS_ADMIN")...))
}

// sessionKey: the container cannot use a key of the caller's session.
func sessionKey(t *testing.T, rt *bundle.Runtime, options ...string) string {
	name := bundle.Name("key")
	found := make(chan string)
	go func() {
		runtime.LockOSThread() // the session keyring is the thread's, which ends
		if _, err := unix.KeyctlJoinSessionKeyring(bundle.Name("session")); err != nil {
			found <- "join: " + err.Error()
			return
		}
		if _, err := unix.AddKey("user", name, []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
			found <- "add: " + err.Error()
			return
		}
		b := bundle.New(t, bundle.Args("/probe", "session-key", name))
		words := append(append([]string{"run", "--bundle", b.Dir}, options...), rt.NewID())
		res := rt.Finish(rt.Command(words...))
		if strings.Contains(res.Stdout, "found") {
			found <- "the container finds the caller's key"
			return
		}
		found <- ""
	}()
	return <-found
}

func keyringKept(t *testing.T, rt *bundle.Runtime) string {
	return sessionKey(t, rt, "--no-new-keyring")
}

// hostFacts: what Docker's lists mask and make read-only tells nothing and
// takes nothing.
func hostFacts(t *testing.T, rt *bundle.Runtime, options ...bundle.Option) string {
	verbs := []string{"read", "/proc/keys", "16"}
	for _, path := range []string{"/proc/timer_list", "/proc/interrupts", "/proc/kcore", "/proc/sched_debug"} {
		verbs = append(verbs, "--", "read", path, "16")
	}
	for _, path := range []string{"/proc/scsi", "/proc/acpi", "/proc/asound", "/sys/firmware", "/sys/devices/virtual/powercap"} {
		verbs = append(verbs, "--", "list", path)
	}
	for _, path := range []string{"/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"} {
		verbs = append(verbs, "--", "try-open", path, "w")
	}
	res := rt.Run(bundle.New(t, append([]bundle.Option{bundle.Do(verbs...)}, options...)...))
	for _, a := range res.Answers(t) {
		if a.Out != "" {
			return a.Verb + ": " + a.Out
		}
	}
	return ""
}

func factsUnmasked(t *testing.T, rt *bundle.Runtime) string {
	return hostFacts(t, rt, bundle.Edit(func(s *specs.Spec) { s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil }))
}

// callerEnvironment: nothing of the caller's environment or command line is
// in a created container's first process as the container sees it.
func callerEnvironment(t *testing.T, rt *bundle.Runtime) string {
	b := bundle.New(t, bundle.Args("/probe", "sleep", "100"))
	id := rt.NewID()
	cmd := rt.Command("create", "--bundle", b.Dir, id)
	cmd.Env = append(os.Environ(), "CALLER_SECRET=1")
	if res := rt.Finish(cmd); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	enter := rt.Command("exec", id, "/probe", "do", "read", "/proc/1/environ", "--", "read", "/proc/1/cmdline", "--", "env")
	enter.Env = append(os.Environ(), "CALLER_SECRET=1")
	for _, a := range rt.Finish(enter).Answers(t) {
		if strings.Contains(a.Out, "CALLER_SECRET") || strings.Contains(a.Out, b.Dir) {
			return a.Verb + " tells about the host: " + strings.ReplaceAll(a.Out, "\x00", " ")
		}
		if strings.Contains(a.Verb, "environ") && a.Out != "" {
			return "the waiting helper's environment can be read: " + strings.ReplaceAll(a.Out, "\x00", " ")
		}
	}
	return ""
}

// terminalInput: a container that has the caller's terminal as its standard
// input cannot put words into it.
func terminalInput(t *testing.T, rt *bundle.Runtime) string {
	b := bundle.New(t, bundle.Args("/probe", "tiocsti", "x"))
	out := callersTerminal(t, exec.Command(rt.Path, "--root", rt.Root, "run", "--bundle", b.Dir, rt.NewID()))
	if !strings.Contains(out, "EPERM") && !strings.Contains(out, "EIO") && !strings.Contains(out, "ENOTTY") {
		return "run: " + out
	}
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "100")))
	out = callersTerminal(t, exec.Command(rt.Path, "--root", rt.Root, "exec", id, "/probe", "tiocsti", "x"))
	if !strings.Contains(out, "EPERM") && !strings.Contains(out, "EIO") && !strings.Contains(out, "ENOTTY") {
		return "exec: " + out
	}
	return ""
}

// inputByHand does the same without a container.
func inputByHand(t *testing.T, _ *bundle.Runtime) string {
	path, err := bundle.Probe()
	if err != nil {
		t.Fatal(err)
	}
	if out := callersTerminal(t, exec.Command(path, "tiocsti", "x")); strings.Contains(out, "ok") {
		return out
	}
	return ""
}

// kernelSurface: the calls that recent holes were in are closed by Docker's
// profile, for the program and for an exec, and the profile cannot be left.
func kernelSurface(t *testing.T, rt *bundle.Runtime, options ...bundle.Option) string {
	verbs := strings.Fields(`socket 40 1 -- try-syscall 425 1 0 -- try-syscall 323 1 -- try-syscall 272 0x10000000
		-- try-syscall 435 0 0 -- try-syscall 308 0 0 -- try-syscall 428 0 / 0 -- try-syscall 430 tmpfs 0`)
	b := bundle.New(t, append([]bundle.Option{bundle.Args("/bin/sh", "-c",
		"/probe do "+strings.Join(verbs, " ")+" && exec /probe sleep 100 >/dev/null")}, options...)...)
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id := rt.NewID()
	cmd := rt.Command("run", "--detach", "--bundle", b.Dir, id)
	cmd.Stdout = f
	if res := rt.Finish(cmd); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	waitFor(t, func() bool { return strings.HasSuffix(readHost(out), "]") })
	inside := bundle.Result{Stdout: readHost(out)}
	entered := rt.Must(append([]string{"exec", id, "/probe", "do"}, verbs...)...)
	for _, res := range []bundle.Result{inside, entered} {
		for _, a := range res.Answers(t) {
			if a.Err != "EPERM" && a.Err != "ENOSYS" {
				return fmt.Sprintf("%s: %s%s", a.Verb, a.Out, a.Err)
			}
		}
	}
	if r := rt.Must("exec", id, "/probe").Report(t); r.Security.Seccomp != 2 {
		return fmt.Sprintf("seccomp mode %d", r.Security.Seccomp)
	}
	return ""
}

func surfaceOpen(t *testing.T, rt *bundle.Runtime) string { return kernelSurface(t, rt) }
