package container

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/test/bundle"
	"berth/test/bundle/report"
)

// privilegeAttacks use rights that one should not have: V18, V27.
func privilegeAttacks() []attack {
	return []attack{
		{name: "V18-capability-sets", try: func(w *world) string { return capabilitySets(w) },
			control: func(w *world) string { return capabilitySets(w, "--privileged") }},
		{name: "V18-user-has-none", try: func(w *world) string { return userHasNone(w) },
			control: func(w *world) string { return userHasNone(w, "--cap-add=KILL", "--user=0") }},
		{name: "V18-deeds", try: func(w *world) string { return deeds(w, nil) }, control: privilegedDeeds},
		// The user namespace is a wall of its own: with all capabilities and no filter.
		{name: "V18-deeds-on-the-host", try: func(w *world) string { return deeds(w, namespaced, settings["allcaps"]...) }, control: privilegedDeeds},
		{name: "V18-setuid-without-new-privileges", try: func(w *world) string { return setuid(w, "--security-opt", "no-new-privileges") },
			control: func(w *world) string { return setuid(w) }},
		{name: "V18-exec-privileged-is-not-traced", try: func(w *world) string { return visited(w, "--privileged") },
			control: func(w *world) string { return visited(w) }},
		{name: "V27-TIOCSTI", try: func(w *world) string { return terminal(w, "TIOCSTI") }, control: func(w *world) string { return terminalByHand(w, "TIOCSTI") }},
		{name: "V27-TIOCLINUX", try: func(w *world) string { return terminal(w, "TIOCLINUX") }, control: consoleByHand},
	}
}

// seen is the probe's report of a new container, and of an exec in one.
func (w *world) seen(options ...string) []report.Report {
	w.Helper()
	name := w.up(options...)
	var all []report.Report
	for _, o := range []outcome{w.once(options, "box", "/probe"), w.in(name, "/probe")} {
		var r report.Report
		if err := json.Unmarshal([]byte(o.out), &r); err != nil {
			w.Fatalf("%v: %s", err, o)
		}
		all = append(all, r)
	}
	return all
}

func capabilitySets(w *world, options ...string) string {
	want := bundle.DockerCaps()
	slices.Sort(want)
	for _, r := range w.seen(options...) {
		for _, set := range [][]string{r.Caps.Bounding, r.Caps.Permitted, r.Caps.Effective} {
			slices.Sort(set)
			if !slices.Equal(set, want) {
				return fmt.Sprintf("capabilities %v", set)
			}
		}
		if len(r.Caps.Inheritable)+len(r.Caps.Ambient) > 0 {
			return fmt.Sprintf("inheritable %v, ambient %v", r.Caps.Inheritable, r.Caps.Ambient)
		}
	}
	return ""
}

func userHasNone(w *world, options ...string) string {
	for _, r := range w.seen(append([]string{"--user=1000:1000"}, options...)...) {
		if c := r.Caps; len(c.Permitted)+len(c.Effective)+len(c.Inheritable)+len(c.Ambient) > 0 {
			return fmt.Sprintf("capabilities of a user %+v", c)
		}
	}
	return ""
}

// namespaced are the deeds that a container may do with the capability, as they
// reach its own things alone.
var namespaced = []string{"SYS_ADMIN mount", "SYS_ADMIN cgroup v2", "SYS_ADMIN cgroup v1", "SYS_ADMIN hostname", "SYS_ADMIN user namespace", "NET_ADMIN", "CHECKPOINT_RESTORE", "SYS_BOOT"}

// deeds tells which of the intruder's deeds succeed but those that may.
func deeds(w *world, may []string, options ...string) string {
	o := w.once(options, "box", "/intruder", "caps")
	if o.code != 0 || len(strings.Split(o.out, "\n")) < 20 {
		w.Fatalf("deeds: %s", o)
	}
	var done []string
	for line := range strings.Lines(o.out) {
		if deed, ok := strings.CutSuffix(strings.TrimSpace(line), " ok"); ok && !slices.Contains(may, deed) {
			done = append(done, deed)
		}
	}
	return strings.Join(done, ", ")
}

// privilegedDeeds: with --privileged all of them succeed, but what this kernel lacks.
func privilegedDeeds(w *world) string {
	done := deeds(w, nil, "--privileged")
	for _, line := range strings.Split(w.once([]string{"--privileged"}, "box", "/intruder", "caps").out, "\n") {
		deed, errno, _ := cutLast(line)
		if deed == "SYS_RESOURCE" && !hasCap(w, unix.CAP_SYS_RESOURCE) {
			continue // nor has root here
		} else if lacks := []string{"EPROTONOSUPPORT", "ENOSYS", "ENODEV", "EOPNOTSUPP", "ENOTTY", "ENOTSUP"}; errno != "ok" && !slices.Contains(lacks, errno) {
			w.Errorf("%s fails with --privileged too: %s", deed, errno)
		}
	}
	return done
}

// hasCap reports whether root has a capability on this machine.
func hasCap(w *world, n int) bool {
	w.Helper()
	has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
	if err != nil {
		w.Fatal(err)
	}
	return has == 1
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// setuid has a user start root's setuid program.
func setuid(w *world, options ...string) string {
	options = append(options, "--user=1000:1000")
	name := w.up(options...)
	for _, o := range []outcome{w.once(options, "box", "/setuid", "euid"), w.in(name, "/setuid", "euid")} {
		switch o.out {
		case "0":
			return "a setuid program made its caller root"
		case "1000":
		default:
			w.Fatalf("euid: %s", o)
		}
	}
	return ""
}

// visited: somebody with more rights who is in the container for a while cannot be
// traced by its programs.
func visited(w *world, options ...string) string {
	name := w.up()
	words := append(append([]string{"exec"}, options...), name, "sh", "-c", "echo $$ >/tmp/pid; exec sleep 1000")
	visitor := w.cmd(words...)
	if err := visitor.Start(); err != nil {
		w.Fatal(err)
	}
	defer func() { _ = visitor.Process.Kill(); _ = visitor.Wait() }()
	pid := ""
	if !eventually(func() bool { pid = w.in(name, "cat", "/tmp/pid").out; return pid != "" }) {
		w.Fatal("the visitor is not seen")
	}
	if o := w.in(name, "/intruder", "trace", pid); o.code == 0 {
		return "an exec's program was traced"
	}
	return ""
}

// terminal has programs of a container put something into the caller's terminal.
func terminal(w *world, how string) string {
	name := w.up(open...)
	for _, words := range [][]string{
		append(append([]string{"run", "-i", "--rm", "--network", "none"}, open...), "box", "/intruder", "wipe", how),
		{"exec", "-i", name, "/intruder", "wipe", how},
		{"exec", name, "sh", "-c", "/intruder wipe " + how + " </dev/tty || /intruder wipe " + how + " </dev/console"},
	} {
		if out := w.callers(w.cmd(words...)); strings.Contains(out, "ok") {
			return fmt.Sprint(words, ": ", out)
		}
	}
	if how == "TIOCLINUX" {
		return ""
	}
	// With a terminal of its own it may, and reaches that one alone.
	out := w.callers(w.cmd(append(append([]string{"run", "-it", "--rm", "--network", "none"}, open...), "box", "/intruder", "wipe", how)...))
	if strings.Contains(out, "left in the caller's terminal: x") {
		return out
	}
	return ""
}

// terminalByHand does the same without a container.
func terminalByHand(w *world, how string) string {
	if out := w.callers(exec.Command(w.intruder(), "wipe", how)); strings.Contains(out, "ok") {
		return out
	}
	return ""
}

// consoleByHand: there is no virtual terminal to paste into but a real one, whose
// paste is not played on a machine where somebody may sit; that the request is known
// there and not on a pseudo-terminal is seen from the harmless one of the same call.
func consoleByHand(w *world) string {
	f, err := os.OpenFile("/dev/tty0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "no virtual terminal here: " + err.Error()
	}
	defer f.Close()
	shift := byte(6) // TIOCL_GETSHIFTSTATE
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x541c, uintptr(unsafe.Pointer(&shift))); errno != 0 {
		return ""
	}
	return "the console answers TIOCLINUX"
}

// callers runs a command as a shell would, in a session whose terminal is its standard
// input, and gives its output and what stands in the terminal then.
func (w *world) callers(cmd *exec.Cmd) string {
	w.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		w.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer tty.Close()
	out, err := os.Create(filepath.Join(w.TempDir(), "out"))
	if err != nil {
		w.Fatal(err)
	}
	defer out.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	_ = cmd.Wait()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		w.Fatal(err)
	}
	left, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCINQ)
	if err == nil && left > 0 {
		text = append(text, "left in the caller's terminal: x"...)
	}
	return string(text)
}
