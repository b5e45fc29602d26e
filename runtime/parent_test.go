package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime"
	"berth/sys/clone"
)

// TestParent: a container's first process is another process's child, and lacks
// nothing that it has as the caller's.
func TestParent(t *testing.T) {
	s := newStage(t)
	before := mountsWith(t, s.dir)
	req := s.request(t, `
		cat; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/oom_score_adj
		stat -c '%u:%g %a' / /etc /etc/passwd /bin/busybox /proc/self/fd/1
		id -u; echo written > /etc/new && chown 7:8 /etc/new && mkdir /made && rm /bin/vi
		grep ' / / ' /proc/self/mountinfo
		exit 9`)
	ctx := context.Background()
	var output func() string
	req.Stdio, output = streams(t, "from the caller\n")
	p, err := s.rt.Create(ctx, req)
	must(t, err)
	s.delete(t, req.ID)
	if got := ppid(t, p.PID); got != s.parent.pid {
		t.Errorf("process %d is a child of %d, not of %d", p.PID, got, s.parent.pid)
	}
	if during := mountsWith(t, s.dir); during != before {
		t.Errorf("the host sees mounts of the container:\n%s\nit had:\n%s", during, before)
	}
	must(t, s.rt.Start(ctx, req.ID))
	text := output()
	if ws := s.parent.wait(t, p.PID); ws.ExitStatus() != 9 {
		t.Errorf("it ended with %v", ws)
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	must(t, err)
	want := fmt.Sprintf("from the caller\n%10d %10d %10d\n%10d %10d %10d\n%s", 0, hostRoot, 65536, 0, hostRoot+70000, 65536, own) +
		"0:0 755\n0:0 755\n0:0 644\n0:0 755\n"
	if !strings.HasPrefix(text, want) {
		t.Errorf("output:\n%s\nwant at first:\n%s", text, want)
	}
	near := strings.NewReplacer(s.store+"/", "") // an old kernel shows the paths as it got them: from the store on
	for _, word := range []string{"upperdir=" + req.Root.Upper, "workdir=" + req.Root.Work, "=" + s.store + "/top", s.store + "/base", " rw,"} {
		if !strings.Contains(near.Replace(text), near.Replace(word)) {
			t.Errorf("the root's mount has no %q:\n%s", word, text)
		}
	}
	// On the disk all is root's.
	for name, owner := range map[string]uint32{"etc/new": 7, "made": 0, "bin/vi": 0} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(req.Root.Upper, name), &st))
		if st.Uid != owner {
			t.Errorf("%s belongs to %d, not to %d", name, st.Uid, owner)
		}
		if white := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0; white != (name == "bin/vi") {
			t.Errorf("%s: mode %o, device %d", name, st.Mode, st.Rdev)
		}
	}
	if after := mountsWith(t, s.dir); after != before {
		t.Errorf("the host's mounts changed:\n%s\nwere:\n%s", after, before)
	}
}

// mountsWith lists the host's mounts that have to do with a folder; others come
// and go.
func mountsWith(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, dir) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func ppid(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), "PPid:")
	n := 0
	_, err = fmt.Sscan(rest, &n)
	must(t, err)
	return n
}

// TestParentTerminal: the caller gets the master of a terminal, for a container
// and for an exec.
func TestParentTerminal(t *testing.T) {
	s := newStage(t)
	ctx := context.Background()
	req := s.request(t, `stty size; tty; read line; echo "got $line"; sleep 1000`)
	req.Spec.Process.Terminal = true
	req.Spec.Process.ConsoleSize = &specs.Box{Height: 31, Width: 97}
	p, err := s.rt.Create(ctx, req)
	must(t, err)
	s.delete(t, req.ID)
	defer p.Close()
	must(t, s.rt.Start(ctx, req.ID))
	expect(t, p.Console, "31 97")
	expect(t, p.Console, "/dev/")
	_, err = p.Console.WriteString("hello\n")
	must(t, err)
	expect(t, p.Console, "got hello")

	process := *req.Spec.Process
	process.Args = []string{"/bin/sh", "-c", "tty; stty size; exit 3"}
	process.ConsoleSize = &specs.Box{Height: 11, Width: 22}
	e, err := s.rt.Spawn(ctx, runtime.ExecRequest{ID: req.ID, Process: &process, Parent: s.parent})
	must(t, err)
	defer e.Close()
	expect(t, e.Console, "/dev/pts/1")
	expect(t, e.Console, "11 22")
	if ws := s.parent.wait(t, e.PID); ws.ExitStatus() != 3 {
		t.Errorf("the exec ended with %v", ws)
	}
	must(t, s.rt.Kill(ctx, req.ID, unix.SIGKILL, false))
	if ws := s.parent.wait(t, p.PID); ws.Signal() != unix.SIGKILL {
		t.Errorf("the container ended with %v", ws)
	}
}

// expect reads a terminal until word came.
func expect(t *testing.T, terminal *os.File, word string) {
	t.Helper()
	got, buf := "", make([]byte, 1)
	for !strings.Contains(got, word) || !strings.HasSuffix(got, "\n") {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(terminal.Fd()), Events: unix.POLLIN}}, 60_000)
		if err == unix.EINTR {
			continue
		}
		if ready != 1 {
			t.Fatalf("read %q and then nothing more; want %q", got, word)
		}
		n, err := terminal.Read(buf)
		if err != nil {
			t.Fatalf("read %q and then: %v; want %q", got, err, word)
		}
		got += string(buf[:n])
	}
}

// TestParentExec: one more process in a container is the parent's child too, and
// the first stages of all of them are reaped.
func TestParentExec(t *testing.T) {
	s := newStage(t)
	ctx := context.Background()
	req := s.request(t, "sleep 1000")
	req.Stdio, _ = streams(t, "")
	p, err := s.rt.Create(ctx, req)
	must(t, err)
	s.delete(t, req.ID)
	must(t, s.rt.Start(ctx, req.ID))
	for i := range 3 {
		process := *req.Spec.Process
		process.Args = []string{"/bin/sh", "-c", "cat; for p in self 1; do readlink /proc/$p/ns/mnt; done | uniq | wc -l; cat /proc/self/uid_map; exit 4"}
		e := runtime.ExecRequest{ID: req.ID, Process: &process, Parent: s.parent}
		var output func() string
		e.Stdio, output = streams(t, "in\n")
		x, err := s.rt.Spawn(ctx, e)
		must(t, err)
		if got := ppid(t, x.PID); got != s.parent.pid {
			t.Errorf("exec %d: process %d is a child of %d, not of %d", i, x.PID, got, s.parent.pid)
		}
		want := fmt.Sprintf("in\n1\n%10d %10d %10d\n", 0, hostRoot, 65536)
		if got := output(); got != want {
			t.Errorf("exec %d: %q, want %q", i, got, want)
		}
		if ws := s.parent.wait(t, x.PID); ws.ExitStatus() != 4 {
			t.Errorf("exec %d ended with %v", i, ws)
		}
	}
	if got := strings.TrimSpace(s.parent.children(t)); got != fmt.Sprint(p.PID) {
		t.Errorf("the parent has the children %q, not %d alone", got, p.PID)
	}
	must(t, s.rt.Kill(ctx, req.ID, unix.SIGKILL, false))
	s.parent.wait(t, p.PID)
}

// TestParentLingers: an exec whose first stage is slow to go, and so to close its
// copy of the socket, has not died when its program is faster.
func TestParentLingers(t *testing.T) {
	s := newStage(t)
	ctx := context.Background()
	req := s.request(t, "sleep 1000")
	req.Stdio, _ = streams(t, "")
	p, err := s.rt.Create(ctx, req)
	must(t, err)
	s.delete(t, req.ID)
	must(t, s.rt.Start(ctx, req.ID))
	process := *req.Spec.Process
	process.Args = []string{"/bin/sh", "-c", "exit 4"}
	l := &lingering{parent: s.parent}
	e := runtime.ExecRequest{ID: req.ID, Process: &process, Parent: l}
	e.Stdio, _ = streams(t, "")
	x, err := s.rt.Spawn(ctx, e)
	must(t, err)
	must(t, l.goOn())
	must(t, s.parent.Spoken(x.PID))
	if ws := s.parent.wait(t, x.PID); ws.ExitStatus() != 4 {
		t.Errorf("the exec ended with %v", ws)
	}
	must(t, s.rt.Kill(ctx, req.ID, unix.SIGKILL, false))
	s.parent.wait(t, p.PID)
}

// lingering is a parent whose child's first stage stops before it ends.
type lingering struct {
	*parent
	first int
}

func (l *lingering) Clone(a *clone.Attr) (int, bool, error) {
	pid, two, err := l.parent.Clone(a)
	if err == nil && two {
		l.first = pid
		err = l.stop()
	}
	return pid, two, err
}

// stop is in force when stage 1 wakes; before it sleeps it has to make stage 2.
func (l *lingering) stop() error {
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.first))
		_, state, _ := strings.Cut(string(stat), ") ")
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(state, "D"): // vfork(2)
			return unix.Kill(l.first, unix.SIGSTOP)
		case strings.HasPrefix(state, "Z"): // where nothing is lent it goes before
			return nil
		}
	}
}

func (l *lingering) goOn() error { return unix.Kill(l.first, unix.SIGCONT) }

// Spoken leaves stage 1 to be reaped later, as a monitor does.
func (l *lingering) Spoken(int) error { return nil }

func (l *lingering) Abandon(pid int) error {
	return errors.Join(l.goOn(), l.parent.Abandon(pid))
}

// TestParentFailure: whatever a start fails of, the parent has no child, and
// nothing is left of the container.
func TestParentFailure(t *testing.T) {
	s := newStage(t)
	ctx := context.Background()
	for name, spoil := range map[string]func(*runtime.CreateRequest){
		"no program": func(r *runtime.CreateRequest) { r.Spec.Process.Args = []string{"/nowhere"} },
		"no layer":   func(r *runtime.CreateRequest) { r.Root.Lower[0] += "-missing" },
		"id map": func(r *runtime.CreateRequest) {
			r.Spec.Linux.UIDMappings[0].HostID = 1<<31 - 1
			r.Spec.Linux.UIDMappings[0].Size = 1<<31 + 5
		},
		"network":        func(r *runtime.CreateRequest) { r.Spec.Linux.Namespaces[1].Path = "/proc/self/ns/mnt" },
		"parent lost":    func(r *runtime.CreateRequest) { p := *s.parent; p.refuses = true; r.Parent = &p },
		"preserved":      func(r *runtime.CreateRequest) { r.PreserveFDs = 1 },
		"outside":        func(r *runtime.CreateRequest) { r.Root.Upper = "/tmp" },
		"unclean":        func(r *runtime.CreateRequest) { r.Root.Lower[1] += "/../base" },
		"no upper":       func(r *runtime.CreateRequest) { r.Root.Upper = "" },
		"bad option":     func(r *runtime.CreateRequest) { r.Root.Options = []string{"index=perhaps"} },
		"two outputs":    func(r *runtime.CreateRequest) { r.Spec.Process.Terminal = true },
		"no mount space": func(r *runtime.CreateRequest) { r.Spec.Linux.Namespaces = r.Spec.Linux.Namespaces[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(t, "true")
			req.Stdio, _ = streams(t, "")
			spoil(&req)
			p, err := s.rt.Create(ctx, req)
			if err == nil {
				p.Close()
				s.delete(t, req.ID)
				t.Fatal("it succeeded")
			}
			t.Log(err)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if left := s.parent.children(t); left != "" {
				t.Errorf("the parent has children: %q", left)
			}
			if _, err := os.Lstat(filepath.Join(s.rt.Root, req.ID)); !os.IsNotExist(err) {
				t.Errorf("the state folder is there: %v", err)
			}
			if dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + req.Spec.Linux.CgroupsPath); len(dirs) > 0 {
				t.Errorf("cgroups are left: %q", dirs)
			}
		})
	}
}

// TestParentLost: when the parent cannot do its part any more, the child ends
// all the same, at once, and only its exit code is left to whoever inherits it.
func TestParentLost(t *testing.T) {
	s := newStage(t)
	p := *s.parent
	p.lost = true
	req := s.request(t, "true")
	req.Parent = &p
	_, err := s.rt.Create(context.Background(), req)
	if err == nil || strings.Contains(err.Error(), "cgroup") {
		t.Errorf("error %v", err)
	}
	if ws := s.parent.wait(t, p.last); ws.Signal() != unix.SIGKILL {
		t.Errorf("the child ended with %v", ws)
	}
}

// TestParentGone: a first process that waits for its orders does not outlive a
// caller that went away, nor one that waits for start a caller that never left.
func TestParentGone(t *testing.T) {
	s := newStage(t)
	p := &vanishing{Parent: s.parent}
	req := s.request(t, "true")
	req.Parent = p
	if _, err := s.rt.Create(context.Background(), req); err == nil {
		t.Fatal("it succeeded")
	}
	// Nobody has killed it.
	if ws := s.parent.wait(t, p.pid); !ws.Exited() || ws.ExitStatus() != 1 {
		t.Errorf("the child ended with %v", ws)
	}
}

// vanishing is a parent whose caller is gone as soon as it has a child.
type vanishing struct {
	runtime.Parent
	pid int
}

func (v *vanishing) Clone(a *clone.Attr) (int, bool, error) {
	var err error
	v.pid, _, err = v.Parent.Clone(a)
	return 0, false, errors.Join(err, errors.New("the caller is gone"))
}

// TestOverlayRoot: the other shapes of a root.
func TestOverlayRoot(t *testing.T) {
	s := newStage(t)
	must(t, os.MkdirAll(filepath.Join(s.store, "top/home"), 0o755))
	must(t, unix.Setxattr(filepath.Join(s.store, "top/home"), "trusted.overlay.opaque", []byte("y"), 0))
	must(t, os.WriteFile(filepath.Join(s.store, "top/home/new"), nil, 0o644))
	must(t, unix.Mknod(filepath.Join(s.store, "top/var"), unix.S_IFCHR, 0)) // a whiteout
	look := "ls -d /var 2>&1; ls /home; stat -c %u /home; touch /new 2>&1; stat -c %u /new 2>&1"
	for name, tt := range map[string]struct {
		change func(*runtime.CreateRequest)
		want   string
	}{
		"opaque folder and whiteout": {func(*runtime.CreateRequest) {}, "ls: /var: No such file or directory\nnew\n0\n0\n"},
		"host's users":               {func(r *runtime.CreateRequest) { hostUsers(r.Spec) }, "ls: /var: No such file or directory\nnew\n0\n0\n"},
		"read-only layers": {func(r *runtime.CreateRequest) { r.Root.Upper, r.Root.Work = "", "" },
			"ls: /var: No such file or directory\nnew\n0\ntouch: /new: Read-only file system\nstat: can't stat '/new': No such file or directory\n"},
		"one layer": {func(r *runtime.CreateRequest) { r.Root.Upper, r.Root.Work, r.Root.Lower = "", "", r.Root.Lower[1:] },
			"/var\nuser\n0\ntouch: /new: Read-only file system\nstat: can't stat '/new': No such file or directory\n"},
		"no layer": {func(r *runtime.CreateRequest) {
			must(t, os.Remove(r.Root.Upper))
			must(t, os.Link(filepath.Join(s.store, "base/bin/busybox"), filepath.Join(s.store, "busybox")))
			must(t, os.MkdirAll(r.Root.Upper+"/bin", 0o755))
			must(t, os.Link(filepath.Join(s.store, "busybox"), r.Root.Upper+"/bin/sh"))
			r.Root.Lower = nil
			r.Spec.Process.Args[2] = "echo *; echo x > /new; read x < /new; echo $x"
		}, "bin dev proc sys\nx\n"},
		"forty layers": {func(r *runtime.CreateRequest) {
			for i := range 40 {
				dir := fmt.Sprintf("%s/a-layer-with-a-name-that-is-not-short-%d", s.store, i)
				must(t, os.MkdirAll(dir, 0o755))
				must(t, os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), nil, 0o644))
				r.Root.Lower = append([]string{dir}, r.Root.Lower...)
			}
			r.Spec.Process.Args[2] = "ls -d /f* | wc -l"
		}, "40\n"},
		"read-only by the spec": {func(r *runtime.CreateRequest) { r.Spec.Root.Readonly = true },
			"ls: /var: No such file or directory\nnew\n0\ntouch: /new: Read-only file system\nstat: can't stat '/new': No such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(t, look)
			tt.change(&req)
			if got, ws := s.run(t, req, ""); got != tt.want {
				t.Errorf("output %q, want %q (%v)", got, tt.want, ws)
			}
		})
	}
}

// hostUsers leaves the container in the host's user namespace.
func hostUsers(s *specs.Spec) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
	s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
}

// TestSandboxJoined: a second container in the first one's user, network, ipc and
// uts namespaces has its own root and its own view of processes.
func TestSandboxJoined(t *testing.T) {
	s := newStage(t)
	ctx := context.Background()
	one := s.request(t, "sleep 1000")
	one.Stdio, _ = streams(t, "")
	p, err := s.rt.Create(ctx, one)
	must(t, err)
	s.delete(t, one.ID)
	must(t, s.rt.Start(ctx, one.ID))
	two := s.request(t, "touch /new; stat -c %u /new; cat /proc/self/uid_map; readlink /proc/self/ns/net; echo $$; hostname")
	two.Spec.Hostname = ""
	two.Spec.Linux.UIDMappings, two.Spec.Linux.GIDMappings = nil, nil
	for i := range two.Spec.Linux.Namespaces {
		n := &two.Spec.Linux.Namespaces[i]
		if file := map[specs.LinuxNamespaceType]string{"user": "user", "network": "net", "ipc": "ipc", "uts": "uts"}[n.Type]; file != "" {
			n.Path = fmt.Sprintf("/proc/%d/ns/%s", p.PID, file)
		}
	}
	net, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID))
	must(t, err)
	got, ws := s.run(t, two, "")
	want := fmt.Sprintf("0\n%10d %10d %10d\n%s\n1\nbundle\n", 0, hostRoot, 65536, net)
	if got != want {
		t.Errorf("%q, want %q (%v)", got, want, ws)
	}
	// One that also sees the first one's processes.
	three := s.request(t, "tr '\\0' ' ' < /proc/1/cmdline")
	three.Spec.Linux.UIDMappings, three.Spec.Linux.GIDMappings = nil, nil
	three.Spec.Linux.Namespaces = slices.DeleteFunc(three.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	for i := range three.Spec.Linux.Namespaces {
		n := &three.Spec.Linux.Namespaces[i]
		if file := map[specs.LinuxNamespaceType]string{"user": "user", "pid": "pid"}[n.Type]; file != "" {
			n.Path = fmt.Sprintf("/proc/%d/ns/%s", p.PID, file)
		}
	}
	if got, ws := s.run(t, three, ""); !strings.HasPrefix(got, "sleep 1000") {
		t.Errorf("process 1 is %q (%v)", got, ws)
	}
	must(t, s.rt.Kill(ctx, one.ID, unix.SIGKILL, false))
	s.parent.wait(t, p.PID)
}

// TestFileCapabilities: those of a layer's program hold in a private user
// namespace too.
func TestFileCapabilities(t *testing.T) {
	s := newStage(t)
	must(t, os.MkdirAll(filepath.Join(s.store, "top/raw"), 0o755))
	program, err := os.ReadFile(filepath.Join(s.store, "base/bin/busybox"))
	must(t, err)
	cat := filepath.Join(s.store, "top/raw/cat")
	must(t, os.WriteFile(cat, program, 0o755))
	// struct vfs_cap_data, revision 2 with the effective bit: CAP_NET_RAW permitted.
	data := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	must(t, unix.Setxattr(cat, "security.capability", data, 0))
	for name, change := range map[string]func(*specs.Spec){"private users": func(*specs.Spec) {}, "host's users": hostUsers} {
		t.Run(name, func(t *testing.T) {
			req := s.request(t, "/raw/cat /proc/self/status | grep CapEff; cat /proc/self/status | grep CapEff")
			change(req.Spec)
			req.Spec.Process.User = specs.User{UID: 1000, GID: 1000}
			req.Spec.Process.Capabilities.Effective, req.Spec.Process.Capabilities.Permitted = nil, nil
			want := "CapEff:\t0000000000002000\nCapEff:\t0000000000000000\n"
			if got, ws := s.run(t, req, ""); got != want {
				t.Errorf("%q, want %q (%v)", got, want, ws)
			}
		})
	}
}
