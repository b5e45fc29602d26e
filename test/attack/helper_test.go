package attack

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// helperAttacks go for the process that enters the container and what it
// holds: classes V1 and V2.
func helperAttacks() []attack {
	return []attack{
		{name: "V1-helper-is-hidden", guard: "guard_off_dumpable", try: helperHidden},
		{name: "V1-binary-stays", guard: "guard_off_exefile", try: binaryStays},
		{name: "V1-entrypoint-is-the-helper", control: entrypointHarmless, try: func(t *testing.T, rt *bundle.Runtime) string {
			return entrypoint(t, rt, "/proc/self/exe")
		}},
		{name: "V2-files-of-the-caller", guard: "guard_off_closefds", try: callersFiles},
		{name: "V2-working-folder-outside", control: cwdBound, try: cwdOutside},
		{name: "V2-working-folder-outside-exec", guard: "guard_off_cwdcheck", try: cwdOutsideExec},
	}
}

var huntLine = regexp.MustCompile(`seen (\d+) opened (\d+) listed (\d+) traced (\d+) written (\d+) (.*)`)

// hunted runs a container that hunts while a program is let into it again and
// again, and gives the five counts. It traces what it finds or, so as not to
// hold that up, only opens it ("quiet").
func hunted(t *testing.T, rt *bundle.Runtime, how string, options ...bundle.Option) ([]int, string) {
	t.Helper()
	b := bundle.New(t, append([]bundle.Option{bundle.Args("/bin/sh", "-c", "/probe hunt 4 "+how+" >/result; exec /probe sleep 100")}, options...)...)
	id := rt.Start(b)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		rt.Do("exec", id, "/bin/true")
	}
	for range 40 {
		time.Sleep(100 * time.Millisecond)
		data, _ := os.ReadFile(b.Rootfs + "/result")
		m := huntLine.FindStringSubmatch(string(data))
		if m == nil {
			continue
		}
		counts := make([]int, 5)
		for i := range counts {
			counts[i], _ = strconv.Atoi(m[i+1])
		}
		t.Logf("hunt: %s", m[0])
		if counts[0] == 0 {
			t.Errorf("the hunter saw nobody: the test proves nothing")
		}
		return counts, m[0]
	}
	t.Fatalf("the hunter said nothing")
	return nil, ""
}

// helperHidden: container root with the usual capabilities can neither open
// the helper's executable, nor list its files, nor trace it.
func helperHidden(t *testing.T, rt *bundle.Runtime) string {
	counts, text := hunted(t, rt, "trace")
	if counts[1]+counts[2]+counts[3] > 0 {
		return text
	}
	return ""
}

// binaryStays: even with every capability the engine's programs on the host
// stay as they are, and what is open cannot be written.
func binaryStays(t *testing.T, rt *bundle.Runtime) string {
	before := sum(t, rt.Path)
	counts, text := hunted(t, rt, "quiet", bundle.Caps(everyCap()...))
	if sum(t, rt.Path) != before {
		return rt.Path + " was changed"
	}
	if counts[4] > 0 {
		return text
	}
	return ""
}

// entrypointHarmless has a program of the image in the helper's place, to see
// that the test would notice it run.
func entrypointHarmless(t *testing.T, rt *bundle.Runtime) string {
	return entrypoint(t, rt, "/bin/true")
}

// entrypoint: a script whose interpreter is /proc/self/exe makes the
// helper run as the container's program: it must not be a file that the
// container can write, nor hold anything of the host.
func entrypoint(t *testing.T, rt *bundle.Runtime, interpreter string) string {
	before := sum(t, rt.Path)
	b := bundle.New(t, bundle.Args("/self"), bundle.Caps(everyCap()...),
		bundle.File("/self", "#!"+interpreter+"\n", 0o755))
	rt.Timeout = 5 * time.Second
	res := rt.Run(b)
	if res.Code == 0 {
		return fmt.Sprintf("it ran: %s", res)
	}
	if sum(t, rt.Path) != before {
		return rt.Path + " was changed"
	}
	return ""
}

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// everyCap is every capability that this process may pass on.
func everyCap() []string {
	return strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID
CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK
CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT
CAP_SYS_NICE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
CAP_CHECKPOINT_RESTORE`)
}

// callersFiles: files that the caller left open (without close-on-exec) reach
// neither the container's program nor an exec's.
func callersFiles(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "secret")
	f, err := os.Open(c.dir + "/secret")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := bundle.New(t, bundle.Args("/bin/sleep", "100"))
	id := rt.NewID()
	start := rt.Command("run", "--detach", "--bundle", b.Dir, id)
	start.ExtraFiles = []*os.File{f, f, f}
	if res := rt.Finish(start); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	in := rt.Must("exec", id, "/probe", "fds", "1").Stdout
	if strings.TrimSpace(in) != "0 1 2" {
		return "the container's program has open: " + in
	}
	enter := rt.Command("exec", id, "/probe")
	enter.ExtraFiles = []*os.File{f, f, f}
	if fds := rt.Finish(enter).Report(t).FDs; len(fds) != 3 {
		return fmt.Sprintf("an exec's program has open: %+v", fds)
	}
	return ""
}

// outside tells whether a process that says these answers (read of the
// canary through its working folder) got out.
func outside(res bundle.Result) string {
	if res.Code == 0 && strings.Contains(res.Stdout, "canary") {
		return res.String()
	}
	return ""
}

// cwdOutside: a working folder that is one of the runtime's own descriptors
// leads out of the root.
func cwdOutside(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "secret")
	dir, err := os.Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for fd := range 24 {
		b := bundle.New(t, bundle.Cwd(fmt.Sprintf("/proc/self/fd/%d", fd)),
			bundle.Args("/bin/sh", "-c", "cat secret; cat ../../../../../../../../../../.."+c.dir+"/secret; pwd"))
		cmd := rt.Command("run", "--bundle", b.Dir, rt.NewID())
		cmd.ExtraFiles = []*os.File{dir}
		if damage := outside(rt.Finish(cmd)); damage != "" {
			return damage
		}
	}
	return ""
}

// cwdBound gives the container the host's folder, to see that the test would
// notice.
func cwdBound(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "secret")
	return outside(rt.Run(bundle.New(t, bundle.Bind(c.dir, "/out"), bundle.Cwd("/out"), bundle.Args("/bin/cat", "secret"))))
}

func cwdOutsideExec(t *testing.T, rt *bundle.Runtime) string {
	c := newCanary(t, "secret")
	dir, err := os.Open(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	id := rt.Start(bundle.New(t, bundle.Args("/probe", "sleep", "100"), bundle.Edit(func(s *specs.Spec) {
		s.Linux.MaskedPaths = nil
	})))
	for fd := range 24 {
		for _, link := range []string{"self", "thread-self"} {
			cmd := rt.Command("exec", "--cwd", fmt.Sprintf("/proc/%s/fd/%d", link, fd), id, "/bin/sh", "-c",
				"cat secret; cat ../../../../../../../../../../.."+c.dir+"/secret; pwd")
			cmd.ExtraFiles = []*os.File{dir}
			if damage := outside(rt.Finish(cmd)); damage != "" {
				return damage
			}
		}
	}
	return ""
}
