package process_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/sys/inherited"
)

func TestRlimits(t *testing.T) {
	s := newSpec()
	s.Process.Rlimits = []specs.POSIXRlimit{
		{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 100},
		{Type: "RLIMIT_CORE", Soft: 0, Hard: 0},
		{Type: "RLIMIT_FSIZE", Soft: 1 << 20, Hard: 1 << 21},
		{Type: "RLIMIT_AS", Soft: 1 << 32, Hard: 1<<64 - 1},
	}
	tr := trial{spec: s, script: `tr -s ' ' < /proc/self/limits`}
	tr.run(t).want(t, "Max open files 64 100 files ", "Max core file size 0 0 bytes ",
		"Max file size 1048576 2097152 bytes ", "Max address space 4294967296 unlimited bytes ")

	// The limits hold for the program, not for the helper on its way there.
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 4, Hard: 4}, {Type: "RLIMIT_FSIZE"}}
	tr.script = "ulimit -n"
	tr.run(t).want(t, "4")
}

// Without limits of its own the program gets the caller's, not those that the
// Go runtime raised for itself.
func TestOpenFilesAreTheCallers(t *testing.T) {
	needRoot(t)
	s := newSpec()
	tr := trial{spec: s, script: "ulimit -Sn; ulimit -Hn"}
	soft, hard := inherited.NOFILE.Soft, inherited.NOFILE.Hard
	tr.run(t).want(t, fmt.Sprint(soft), fmt.Sprint(hard))
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	if now.Cur == soft && soft < hard {
		t.Errorf("the runtime raised nothing: %+v", now)
	}
}

func TestRlimitBeyondOurs(t *testing.T) {
	needRoot(t)
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NICE, &lim); err != nil || lim.Max >= 40 {
		t.Fatalf("RLIMIT_NICE is %+v, %v", lim, err)
	}
	s, tr := inUserNamespace(65536)
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NICE", Soft: lim.Max + 1, Hard: lim.Max + 1}}
	tr.script = `tr -s ' ' < /proc/self/limits`
	line := fmt.Sprintf("Max nice priority %d %d ", lim.Max+1, lim.Max+1)
	if heldCaps(t)&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		tr.run(t).refused(t, "set resource limits: RLIMIT_NICE")
		return
	}
	// A process in its own user namespace needs the parent's help.
	tr.run(t).refused(t, "set resource limits: RLIMIT_NICE")
	tr.outside = true
	tr.run(t).want(t, line)
}

func TestScheduler(t *testing.T) {
	needRoot(t)
	s := newSpec()
	tr := trial{spec: s, script: `chrt -p $$ | sed 's/pid [0-9]*/pid/'; nice; ionice -p $$; cut -d' ' -f19 /proc/$$/stat`}
	s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
	s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	tr.run(t).want(t, "pid's current scheduling policy: SCHED_BATCH", "best-effort: prio 6", "7")

	s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE}
	s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedRR, Priority: 5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	tr.run(t).want(t, "pid's current scheduling policy: SCHED_RR|SCHED_RESET_ON_FORK", "pid's current scheduling priority: 5", "idle")

	// In a user namespace the parent has to do it.
	u, tu := inUserNamespace(65536)
	u.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 3}
	u.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT, Priority: 1}
	tu.script, tu.outside = tr.script, true
	tu.run(t).want(t, "pid's current scheduling policy: SCHED_FIFO", "pid's current scheduling priority: 3", "realtime: prio 1")
}

func TestDeadlineScheduler(t *testing.T) {
	s := newSpec()
	s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 10e6, Deadline: 50e6, Period: 100e6,
		Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	// Deadline tasks cannot fork, so the shell replaces itself.
	tr := trial{spec: s, argv: []string{"/bin/cat", "/proc/self/sched"}}
	o := tr.run(t)
	o.want(t)
	if !strings.Contains(strings.ReplaceAll(o.out, " ", ""), "policy:6\n") {
		t.Errorf("not a deadline task:\n%s", o.out)
	}
}

func TestPersonality(t *testing.T) {
	s := newSpec()
	s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	tr := trial{spec: s, script: "cat /proc/self/personality"}
	tr.run(t).want(t, "00000008")
	s.Linux.Personality.Domain = specs.PerLinux
	tr.run(t).want(t, "00000000")
}

func TestAffinity(t *testing.T) {
	needRoot(t)
	show := "grep Cpus_allowed_list /proc/self/status | tr '\t' ' '"
	s := newSpec()
	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0"}
	tr := trial{spec: s, script: show, outside: true}
	tr.options.Exec = true
	tr.run(t).want(t, "Cpus_allowed_list: 0")

	// The caller's own confinement is not the container's.
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() < 2 {
		t.Skip("needs hardware: two CPUs")
	}
	before, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	one.Set(0)
	unix.SchedSetaffinity(0, &one)
	defer unix.SchedSetaffinity(0, &all)
	s.Process.ExecCPUAffinity = nil
	_, rest, _ := strings.Cut(string(before), "Cpus_allowed_list:\t")
	list, _, _ := strings.Cut(rest, "\n")
	tr.run(t).want(t, "Cpus_allowed_list: "+list)

	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "8000"}
	tr.run(t).refused(t, "set CPU affinity")
}

func TestMemoryPolicy(t *testing.T) {
	s := newSpec()
	s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
	tr := trial{spec: s, script: `grep -c 'bind=static:0' /proc/self/numa_maps`}
	o := tr.run(t)
	o.want(t)
	if n, err := strconv.Atoi(strings.TrimSpace(o.out)); err != nil || n == 0 {
		t.Errorf("no mapping is bound to node 0: %q", o.out)
	}
	s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "1000"}
	tr.run(t).refused(t, "set memory policy")
}

func TestNames(t *testing.T) {
	s := newSpec()
	s.Hostname, s.Domainname = "inside", "example.test"
	tr := trial{spec: s, script: `cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname`}
	tr.options.Namespaces = with(0, specs.UTSNamespace)
	tr.run(t).want(t, "inside", "example.test")
	if h, _ := os.Hostname(); h == "inside" {
		t.Fatal("the host's name changed")
	}
}

func TestSysctls(t *testing.T) {
	s := newSpec()
	s.Linux.Sysctl = map[string]string{
		"net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/rp_filter": "2", "kernel.msgmax": "4096",
		"fs.mqueue.msg_max": "20", "kernel.domainname": "from.sysctl",
	}
	tr := trial{spec: s, script: `cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/conf/lo/rp_filter kernel/msgmax fs/mqueue/msg_max kernel/domainname`}
	tr.options.Namespaces = with(0, specs.UTSNamespace, specs.IPCNamespace, specs.NetworkNamespace)
	o := tr.run(t)
	o.want(t)
	if o.out != "1\n2\n4096\n20\nfrom.sysctl\n" {
		t.Errorf("got %q", o.out)
	}

	s.Linux.Sysctl = map[string]string{"net.ipv4.no_such_thing": "1"}
	tr.run(t).refused(t, "set sysctl net/ipv4/no_such_thing: no such file")

	// In its own user namespace it is the namespaces' owner.
	u, tu := inUserNamespace(65536)
	u.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmni": "99"}
	tu.options.Namespaces = with(0, specs.UserNamespace, specs.IPCNamespace, specs.NetworkNamespace)
	tu.script = `cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni`
	tu.run(t).want(t, "0", "99")
}

func TestKeyring(t *testing.T) {
	needRoot(t)
	s := newSpec()
	name := fmt.Sprintf("trial%d", os.Getpid())
	show := `awk '/_ses.` + name + `/ {print $5, $9}' /proc/keys`
	tr := trial{spec: s, script: show}
	tr.options.ID = name
	tr.run(t).want(t, "3f1b0000 _ses."+name+":")

	tr.options.NoNewKeyring, tr.options.ID = true, name+"-none"
	if o := tr.run(t); strings.Contains(o.out, name+"-none") {
		t.Errorf("a keyring was made: %q", o.out)
	}
}

func TestNewSession(t *testing.T) {
	s := newSpec()
	(&trial{spec: s, script: `[ "$(cut -d' ' -f6 /proc/$$/stat)" = $$ ] && echo leader`}).run(t).want(t, "leader")
}

func TestOOMScoreAdj(t *testing.T) {
	needRoot(t)
	s := newSpec()
	s.Process.OOMScoreAdj = ptr(345)
	tr := trial{spec: s, script: "cat /proc/self/oom_score_adj"}
	tr.run(t).want(t, "345")

	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	s.Process.OOMScoreAdj = ptr(-1000)
	want := "-1000"
	if heldCaps(t)&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		want = strings.TrimSpace(string(own)) // what we may set
	}
	tr.run(t).want(t, want)
}

// With the owner's quota of keys used up the process goes on without a keyring
// of its own, and says so.
func TestKeyringQuota(t *testing.T) {
	needRoot(t)
	const owner = 123457
	// The keys belong to this thread, which ends with the test.
	runtime.LockOSThread()
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, owner, owner, 0); e != 0 {
		t.Fatal(e)
	}
	_, err := unix.KeyctlJoinSessionKeyring("quota")
	made := 0
	for ; err == nil && made < 100_000; made++ {
		_, err = unix.AddKey("user", fmt.Sprint("key", made), []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
	if err != unix.EDQUOT {
		t.Fatalf("after %d keys: %v", made, err)
	}
	s, tr := inUserNamespace(1)
	s.Linux.UIDMappings[0].HostID, s.Linux.GIDMappings[0].HostID = owner, owner
	o := tr.run(t)
	o.want(t, "Uid: 0 0 0 0")
	if len(o.warns) != 1 || !strings.Contains(o.warns[0], "quota of keys is used up") {
		t.Errorf("warned of %q", o.warns)
	}
}
