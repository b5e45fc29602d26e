package container

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/test/bundle"
)

// settings are the options under which rows are played.
var settings = map[string][]string{
	"default":    {},
	"hostuser":   {"--userns=host"},
	"unconfined": {"--security-opt", "seccomp=unconfined"},
	"allcaps":    {"--cap-add=ALL", "--security-opt", "seccomp=unconfined", "--userns=private"},
	"host":       {"--privileged", "--cgroupns=host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup"},
}

// row is one thing that a program tries with the probe. It is stopped under one
// setting and succeeds under the other.
type row struct {
	class, words string
	kind         string // what is damage: "open" no error, "read" text, "call" any answer but EPERM and ENOSYS
	under, weak  string
	needs        string // path without which the host has nothing to attack
}

func (r row) damage(a bundle.Answer) string {
	closed := a.Err == "EPERM" || a.Err == "ENOSYS"
	if r.kind == "open" && a.Err == "" || r.kind == "read" && a.Out != "" || r.kind == "call" && !closed {
		return r.words + ": " + a.Out + a.Err
	}
	return ""
}

// rows that the host has something for.
func rows() []row {
	all := factRows()
	all = append(all, callRows()...)
	all = append(all, deviceRows()...)
	return slices.DeleteFunc(all, func(r row) bool { return r.needs != "" && !something(r.needs) })
}

// something tells whether a path is there, and not an empty folder.
func something(path string) bool {
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return err == nil
	}
	names, err := os.ReadDir(path)
	return err == nil && len(names) > 0
}

// factRows are in /proc and /sys: V13, V19, V23.
func factRows() []row {
	var all []row
	add := func(class, kind, verb, rest string, paths ...string) {
		for _, p := range paths {
			all = append(all, row{class, strings.TrimSpace(verb + " " + p + " " + rest), kind, "default", "host", p})
		}
	}
	add("V23", "read", "read", "16", "/proc/kcore", "/proc/kallsyms", "/proc/timer_list", "/proc/interrupts", "/proc/keys", "/proc/config.gz", "/proc/sched_debug")
	add("V23", "read", "list", "", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug", "/sys/kernel/tracing", "/proc/acpi", "/proc/scsi")
	add("V13", "open", "try-open", "w", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/panic",
		"/proc/sys/vm/swappiness", "/proc/sys/fs/binfmt_misc", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/randomize_va_space")
	add("V23", "open", "try-open", "w", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/ksm/run", "/sys/kernel/profiling", "/sys/class/net/lo/mtu")
	add("V19", "open", "try-open", "w", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/cgroup.procs", "/sys/fs/cgroup/devices/devices.allow",
		"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control")
	return slices.DeleteFunc(all, func(r row) bool { return r.kind == "open" && folder(r.needs) })
}

func folder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// callRows are the calls and families that recent holes were in: V30, V19, V23. The
// sweep looks at all of them; these say what each is.
func callRows() []row {
	var all []row
	add := func(weak string, lines ...string) {
		for _, words := range lines {
			all = append(all, row{"V30", words, "call", "default", weak, ""})
		}
	}
	call := func(n int, args string) string { return strings.TrimSpace(fmt.Sprintf("try-syscall %d %s", n, args)) }
	add("unconfined", fmt.Sprintf("socket %d 5", unix.AF_ALG), fmt.Sprintf("socket %d 1", unix.AF_VSOCK),
		call(unix.SYS_IO_URING_SETUP, "1 0"), call(unix.SYS_IO_URING_ENTER, "-1 0 0 0 0 0"), call(unix.SYS_IO_URING_REGISTER, "-1 0 0 0"),
		call(unix.SYS_KEYCTL, "0 -3 0"), call(unix.SYS_ADD_KEY, "user x 0 0 -3"), call(unix.SYS_REQUEST_KEY, "user x 0 0"),
		call(unix.SYS_UNSHARE, "0x10000000"), call(unix.SYS_CLONE, "0x10000200"), call(unix.SYS_CLONE3, "0 0"), call(unix.SYS_SETNS, "-1 0"))
	add("host", call(unix.SYS_USERFAULTFD, "0"), call(unix.SYS_BPF, "0 0 0"), call(unix.SYS_PERF_EVENT_OPEN, "0 0 -1 -1 0"), call(unix.SYS_FSOPEN, "tmpfs 0"),
		call(unix.SYS_OPEN_TREE, "-100 / 1"), call(unix.SYS_MOVE_MOUNT, "-1 none -1 none 0"), call(unix.SYS_OPEN_BY_HANDLE_AT, "-1 0 0"),
		call(unix.SYS_FINIT_MODULE, "-1 0 0"), call(unix.SYS_KEXEC_LOAD, "0 17 0 0xffff"), call(unix.SYS_FANOTIFY_INIT, "0 0"), call(unix.SYS_MOUNT_SETATTR, "-1 none 0 0 0"))
	return all
}

// node is a program of the image.
const node = "#!/bin/sh\nmknod /tmp/$2-$3 $1 $2 $3; exec /probe try-open /tmp/$2-$3\n"

// deviceRows make a node and open it: in a user namespace there is no making, and
// outside of one no opening.
func deviceRows() []row {
	var all []row
	add := func(kind, major, minor, needs string) {
		words := strings.Join([]string{"run /bin/node", kind, major, minor}, " ")
		for _, under := range []string{"default", "hostuser"} {
			all = append(all, row{"V23", words, "open", under, "host", needs})
		}
	}
	if disks, err := os.ReadDir("/sys/dev/block"); err == nil && len(disks) > 0 {
		major, minor, _ := strings.Cut(disks[0].Name(), ":")
		add("b", major, minor, "")
	}
	for path, number := range map[string][2]string{"/dev/mem": {"1", "1"}, "/dev/kmsg": {"1", "11"}, "/dev/fuse": {"10", "229"}, "/dev/net/tun": {"10", "200"}, "/dev/hwrng": {"10", "183"}} {
		add("c", number[0], number[1], path)
	}
	return all
}

// played are the answers under each setting, by words.
var played struct {
	sync.Mutex
	under map[string]map[string]bundle.Answer
}

// play has all rows tried under a setting, in one container.
func (w *world) play(setting string) map[string]bundle.Answer {
	w.Helper()
	played.Lock()
	defer played.Unlock()
	if played.under[setting] != nil {
		return played.under[setting]
	}
	words := []string{"box", "/probe", "do"}
	for _, r := range rows() {
		if r.under == setting || r.weak == setting {
			words = append(append(words, strings.Fields(r.words)...), "--")
		}
	}
	o := w.once(settings[setting], words...)
	var list []bundle.Answer
	if err := json.Unmarshal([]byte(o.out), &list); err != nil {
		w.Fatalf("%s: %v: %s", setting, err, o)
	}
	all := map[string]bundle.Answer{}
	for _, a := range list {
		all[a.Verb] = a
	}
	if played.under == nil {
		played.under = map[string]map[string]bundle.Answer{}
	}
	played.under[setting] = all
	return all
}

// kernelAttacks are on the kernel itself: V13, V19, V23, V30.
func kernelAttacks() []attack {
	all := []attack{
		{name: "V30-rows", try: func(w *world) string { return w.rowsUnder(false) }, control: func(w *world) string { return w.rowsUnder(true) }},
		{name: "V30-every-call", try: everyCall, control: func(w *world) string { return sweptOpen(w, "64") }},
		{name: "V30-every-x32-call", try: everyX32Call, control: func(w *world) string { return sweptOpen(w, "64") }},
		{name: "V30-every-i386-call", try: everyI386Call, control: func(w *world) string { return sweptOpen(w, "i386") }},
	}
	return all
}

// rowsUnder tells of the first row that succeeds, or, where all must, of all of them.
func (w *world) rowsUnder(weak bool) string {
	w.Helper()
	count, damage := 0, ""
	for _, r := range rows() {
		setting := r.under
		if weak {
			setting = r.weak
		}
		a, ok := w.play(setting)[r.words]
		if !ok {
			w.Fatalf("%s: no answer to %s", setting, r.words)
		}
		d := r.damage(a)
		switch {
		case d != "" && !weak:
			w.Errorf("%s: escaped: %s: %s", r.class, setting, d)
		case d == "" && weak && a.Err == "ENOSYS": // nor has this kernel
		case d == "" && weak:
			w.Errorf("%s: %s does nothing under %s either, so it proves nothing: %s", r.class, r.words, setting, a.Out+a.Err)
		case weak:
			count++
		}
	}
	if weak {
		damage = fmt.Sprintf("%d of %d rows", count, len(rows()))
	}
	return damage
}

// swept are the outcomes of a sweep by number, nil where the kernel has no such table.
func (w *world) swept(table string, options ...string) []string {
	w.Helper()
	o := w.once(options, "box", "/intruder", "sweep", table, strconv.Itoa(callCount))
	if o.code != 0 {
		w.Fatalf("sweep %s: %s", table, o)
	}
	if strings.Contains(o.out, "no such table") {
		return nil
	}
	all := make([]string, callCount)
	for line := range strings.Lines(o.out) {
		number, outcome, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(number); err == nil && n < len(all) {
			all[n] = outcome
		}
	}
	if slices.Contains(all, "") {
		w.Fatalf("sweep %s: not every number was tried: %.500s", table, o)
	}
	return all
}

// callCount is above every call's number.
const callCount = 480

var open = []string{"--security-opt", "seccomp=unconfined"}

func closed(outcome string) bool { return outcome == "EPERM" || outcome == "ENOSYS" }

// judged compares a sweep with what Docker's profile says and with a sweep without a
// filter: what is allowed must be as without, all else closed.
func (w *world) judged(table string, names map[int]string) string {
	w.Helper()
	got, free := w.swept(table), w.swept(table, open...)
	if got == nil && free == nil {
		w.Logf("this kernel has no calls of table %s", table)
		return ""
	}
	always, sometimes := dockers(w)
	for n, outcome := range got {
		name := names[n]
		switch {
		case slices.Contains(uprobes, n) && table == "64":
		case outcome == "skipped" || sometimes[name] && !always[name]:
		case always[name] && outcome != free[n]:
			w.Errorf("%s %d (%s) is allowed, and gives %s in the place of %s", table, n, name, outcome, free[n])
		case !always[name] && !closed(outcome):
			return fmt.Sprintf("%s %d (%s) is not allowed, and gives %s", table, n, name, outcome)
		}
	}
	return ""
}

// uprobes are calls that the kernel makes in the place of instructions and lets pass
// every filter (kernel/seccomp.c since Linux 6.14): nobody else can make them.
var uprobes = []int{335, 336}

func everyCall(w *world) string { return w.judged("64", callNames(w, runtime.GOARCH)) }

func everyI386Call(w *world) string { return w.judged("i386", callNames(w, "386")) }

// everyX32Call: no filter for one table is left by way of another.
func everyX32Call(w *world) string {
	names := callNames(w, runtime.GOARCH)
	always, sometimes := dockers(w)
	for n, outcome := range w.swept("x32") {
		if name := names[n]; !always[name] && !sometimes[name] && outcome != "skipped" && !closed(outcome) && n < 512 {
			return fmt.Sprintf("x32 %d (%s) gives %s", n, name, outcome)
		}
	}
	return ""
}

// sweptOpen: without the filter many of the calls that it closes are let through.
func sweptOpen(w *world, table string) string {
	got, free := w.swept(table), w.swept(table, open...)
	if free == nil {
		return "no such table"
	}
	count := 0
	for n := range free {
		if !closed(free[n]) && closed(got[n]) {
			count++
		}
	}
	if count < 30 {
		return ""
	}
	return fmt.Sprintf("%d calls are open without the filter", count)
}

// dockers are the names that Docker's profile allows always, and for some arguments.
func dockers(w *world) (always, sometimes map[string]bool) {
	w.Helper()
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: bundle.DockerCaps()}}}
	profile, err := moby.GetDefaultProfile(spec)
	if err != nil {
		w.Fatal(err)
	}
	always, sometimes = map[string]bool{}, map[string]bool{}
	for _, s := range profile.Syscalls {
		for _, name := range s.Names {
			if s.Action == specs.ActAllow && len(s.Args) == 0 {
				always[name] = true
			} else if s.Action == specs.ActAllow {
				sometimes[name] = true
			}
		}
	}
	return always, sometimes
}

var callLine = regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s+= (\d+)$`)

// callNames are the names of an architecture's calls by number, from Go's own list.
func callNames(w *world, arch string) map[int]string {
	w.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		w.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go"))
	if err != nil {
		w.Fatal(err)
	}
	all := map[int]string{}
	for _, m := range callLine.FindAllStringSubmatch(string(text), -1) {
		if n, err := strconv.Atoi(m[2]); err == nil {
			all[n] = strings.ToLower(m[1])
		}
	}
	if len(all) < 250 {
		w.Fatalf("only %d calls are known", len(all))
	}
	return all
}
