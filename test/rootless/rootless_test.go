package rootless

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/bundle"
	"berth/test/leak"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// bundle makes a bundle of the user's with what `spec --rootless` says, run
// without a terminal, and changes it.
func (s *seat) bundle(edits ...func(*specs.Spec)) *bundle.Bundle {
	s.t.Helper()
	b := bundle.New(s.t)
	config := filepath.Join(b.Dir, "config.json")
	if err := os.Remove(config); err != nil {
		s.t.Fatal(err)
	}
	s.give(b.Dir)
	path, err := bundle.Locate()
	if err != nil {
		s.t.Fatal(err)
	}
	ours := s.command()
	ours.Path, ours.Args = path, []string{path, "spec", "--rootless", "--bundle", b.Dir}
	if res := s.rt.Finish(ours); res.Code != 0 {
		s.t.Fatalf("%s", res)
	}
	data, err := os.ReadFile(config)
	if err != nil {
		s.t.Fatal(err)
	}
	b.Spec = &specs.Spec{}
	if err := json.Unmarshal(data, b.Spec); err != nil {
		s.t.Fatal(err)
	}
	b.Spec.Version = "1.0.2" // crun of Debian 12 knows no later one
	b.Spec.Process.Terminal = false
	b.Spec.Root.Readonly = false
	for _, edit := range edits {
		edit(b.Spec)
	}
	b.Write(s.t)
	return b
}

func args(words ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Args = words }
}

// maps gives the container all of the user's ids: 0 is the user, 1… the range.
func (s *seat) maps(spec *specs.Spec) {
	all := func(own uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: own, Size: 1}, {ContainerID: 1, HostID: s.First, Size: s.Count}}
	}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = all(s.UID), all(s.GID)
}

func owner(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Gid
}

// refused holds that a command failed with one line that has the words.
func refused(t *testing.T, res bundle.Result, words ...string) {
	t.Helper()
	text := strings.TrimRight(res.Stderr, "\n")
	if res.Code <= 0 || text == "" || strings.Contains(text, "\n") {
		t.Errorf("want a failure with one line: %s", res)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the error must name %q: %s", w, res)
		}
	}
}

// TestOneID is a user whose container has the user's own id as its root's.
func TestOneID(t *testing.T) {
	needRoot(t)
	s := sit(t, lonely, "")
	leak.Check(t, s.dir)
	b := s.bundle(args("/bin/sh", "-c", "touch /made; id -u; id -g; cat /proc/self/uid_map; readlink /proc/self/ns/net; ls -d /sys/class; exit 7"))
	res := s.do("run", "--bundle", b.Dir, s.rt.NewID())
	net, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("0 0 0 %d 1 %s /sys/class", lonely.UID, net)
	if got := strings.Join(strings.Fields(res.Stdout), " "); res.Code != 7 || got != want {
		t.Errorf("want %q and 7: %s", want, res)
	}
	if uid, gid := owner(t, b.Rootfs+"/made"); uid != lonely.UID || gid != lonely.GID {
		t.Errorf("the container's file is of %d:%d", uid, gid)
	}
}

// TestRanges is a user with subordinate ids: the container's user 1000 is the
// 1000th of the range on the host.
func TestRanges(t *testing.T) {
	needRoot(t)
	s := sit(t, ranged, "")
	leak.Check(t, s.dir)
	b := s.bundle(s.maps, args("/bin/sh", "-c", "id -u; id -g; id -G; touch /tmp/made"), func(spec *specs.Spec) {
		spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1002}}
	})
	res := s.must("run", "--bundle", b.Dir, s.rt.NewID())
	if got := strings.Join(strings.Fields(res.Stdout), " "); got != "1000 1001 1001 1002" {
		t.Errorf("%s", res)
	}
	if uid, gid := owner(t, b.Rootfs+"/tmp/made"); uid != ranged.First+999 || gid != ranged.First+1000 {
		t.Errorf("the container's file is of %d:%d, want %d:%d", uid, gid, ranged.First+999, ranged.First+1000)
	}
}

// TestForeignRange asks for ids that are not the user's.
func TestForeignRange(t *testing.T) {
	needRoot(t)
	for name, a := range map[string]account.Account{"ranged": ranged, "lonely": lonely} {
		t.Run(name, func(t *testing.T) {
			s := sit(t, a, "")
			leak.Check(t, s.dir)
			b := s.bundle(func(spec *specs.Spec) {
				foreign := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 65536}}
				spec.Linux.UIDMappings, spec.Linux.GIDMappings = foreign, foreign
			})
			id := s.rt.NewID()
			refused(t, s.do("run", "--bundle", b.Dir, id), "must be the user's in /etc/sub")
			if _, err := os.Lstat(filepath.Join(s.rt.Root, id)); err == nil {
				t.Errorf("the state folder is left")
			}
		})
	}
}

// TestNoMapper hides newuidmap and newgidmap from the command.
func TestNoMapper(t *testing.T) {
	needRoot(t)
	s := sit(t, ranged, "")
	leak.Check(t, s.dir)
	b := s.bundle(s.maps)
	run := s.command("run", "--bundle", b.Dir, s.rt.NewID())
	script := `mount --make-rprivate / && mount --bind /dev/null /usr/bin/newuidmap && mount --bind /dev/null /usr/bin/newgidmap &&
		exec setpriv --reuid="$1" --regid="$2" --clear-groups -- "${@:3}"`
	words := []string{"--mount", "bash", "-c", script, "bash", strconv.Itoa(int(s.UID)), strconv.Itoa(int(s.GID))}
	hidden := exec.Command("unshare", append(words, run.Args...)...)
	hidden.SysProcAttr, hidden.Env, hidden.Dir = &syscall.SysProcAttr{Setpgid: true}, run.Env, run.Dir
	refused(t, s.rt.Finish(hidden), "idmap is missing", "package uidmap")
}

// TestVerbs leads a container through its life, without any cgroup.
func TestVerbs(t *testing.T) {
	needRoot(t)
	for name, a := range map[string]account.Account{"ranged": ranged, "lonely": lonely} {
		t.Run(name, func(t *testing.T) {
			s := sit(t, a, "")
			leak.Check(t, s.dir)
			b := s.bundle(args("/bin/sleep", "1000"))
			id := s.rt.NewID()
			s.must("create", "--bundle", b.Dir, id)
			s.status(id, "created")
			s.must("start", id)
			s.status(id, "running")
			if res := s.do("exec", id, "/bin/sh", "-c", "touch /made; id -u; exit 9"); res.Code != 9 || strings.TrimSpace(res.Stdout) != "0" {
				t.Errorf("%s", res)
			}
			if uid, gid := owner(t, b.Rootfs+"/made"); uid != a.UID || gid != a.GID {
				t.Errorf("the exec's file is of %d:%d", uid, gid)
			}
			if res := s.must("list", "--quiet"); strings.TrimSpace(res.Stdout) != id {
				t.Errorf("%s", res)
			}
			refused(t, s.do("delete", id), "not stopped")
			s.must("exec", "--detach", id, "/bin/sleep", "1000")
			if !delegated(t, a) {
				refused(t, s.do("ps", id), "no cgroup")
			}
			s.must("kill", "--all", id, "KILL")
			s.status(id, "stopped")
			s.must("delete", id)
			refused(t, s.do("state", id), "does not exist")
		})
	}
}

// status waits until the container's state is the wanted one.
func (s *seat) status(id, want string) {
	s.t.Helper()
	var res bundle.Result
	for range 50 {
		res = s.must("state", id)
		var state specs.State
		if err := json.Unmarshal([]byte(res.Stdout), &state); err != nil {
			s.t.Fatal(err)
		}
		if string(state.Status) == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("want %s: %s", want, res)
}

// TestLimits asks for limits that a user without delegated cgroups cannot
// have: they are refused, each by name.
func TestLimits(t *testing.T) {
	needRoot(t)
	s := sit(t, lonely, "")
	if delegated(t, lonely) {
		t.Skip("cgroup layout: the user's cgroup is delegated, so that limits may work")
	}
	leak.Check(t, s.dir)
	number := int64(64 << 20)
	shares, weight := uint64(512), uint16(100)
	for name, r := range map[string]specs.LinuxResources{
		"memory":  {Memory: &specs.LinuxMemory{Limit: &number}},
		"pids":    {Pids: &specs.LinuxPids{Limit: &number}},
		"cpu":     {CPU: &specs.LinuxCPU{Shares: &shares}},
		"blockIO": {BlockIO: &specs.LinuxBlockIO{Weight: &weight}},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.bundle(args("/bin/true"), func(spec *specs.Spec) { spec.Linux.Resources = &r })
			id := s.rt.NewID()
			refused(t, s.do("run", "--bundle", b.Dir, id), name)
			if _, err := os.Lstat(filepath.Join(s.rt.Root, id)); err == nil {
				t.Errorf("the state folder is left")
			}
		})
	}
	b := s.bundle(args("/bin/sleep", "1000"))
	id := s.rt.NewID()
	s.must("run", "--detach", "--bundle", b.Dir, id)
	refused(t, s.do("update", "--pids-limit", "5", id), "cgroup")
	refused(t, s.do("pause", id), "cgroup")
	s.must("delete", "--force", id)
}

// delegated reports whether the user may write in a cgroup v2 of its own.
func delegated(t *testing.T, a account.Account) bool {
	t.Helper()
	out, err := exec.Command("setpriv", "--reuid="+strconv.Itoa(int(a.UID)), "--regid="+strconv.Itoa(int(a.GID)), "--clear-groups",
		"sh", "-c", `test -w "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.procs" && echo yes || echo no`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)) == "yes"
}

// TestSysfs wants a new sysfs with the host's network, which only the owner
// of that may mount: the host's stands in, read-only as asked.
func TestSysfs(t *testing.T) {
	needRoot(t)
	s := sit(t, lonely, "")
	leak.Check(t, s.dir)
	b := s.bundle(args("/bin/sh", "-c", "ls /sys; touch /sys/x"), func(spec *specs.Spec) {
		for i, m := range spec.Mounts {
			if m.Destination == "/sys" {
				spec.Mounts[i] = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
			}
		}
	})
	res := s.do("run", "--bundle", b.Dir, s.rt.NewID())
	if !strings.Contains(res.Stdout, "class") || !strings.Contains(res.Stderr, "Read-only file system") {
		t.Errorf("%s", res)
	}
}

// TestStateFolder has no --root: the state is below XDG_RUNTIME_DIR.
func TestStateFolder(t *testing.T) {
	needRoot(t)
	s := sit(t, lonely, "")
	leak.Check(t, s.dir)
	b := s.bundle(args("/bin/sleep", "1000"))
	bare := func(words ...string) *exec.Cmd {
		cmd := s.command(words...)
		cmd.Args = append([]string{cmd.Path}, words...)
		return cmd
	}
	id := s.rt.NewID()
	if res := s.rt.Finish(bare("run", "--detach", "--bundle", b.Dir, id)); res.Code != 0 {
		t.Fatalf("%s", res)
	}
	st, err := os.Stat(filepath.Join(s.dir, "berth-oci", id))
	if err != nil || !st.IsDir() {
		t.Errorf("no state below XDG_RUNTIME_DIR: %v", err)
	}
	without := bare("list")
	without.Env = []string{"PATH=/bin", "BERTH_LEAK=" + os.Getenv("BERTH_LEAK")}
	refused(t, s.rt.Finish(without), "XDG_RUNTIME_DIR")
	if res := s.rt.Finish(bare("delete", "--force", id)); res.Code != 0 {
		t.Errorf("%s", res)
	}
}

// TestKilled kills create at random moments: there is no cgroup to find what
// it began, so that has to end by itself.
func TestKilled(t *testing.T) {
	needRoot(t)
	s := sit(t, ranged, "")
	leak.Check(t, s.dir)
	b := s.bundle(s.maps, args("/bin/sleep", "1000"))
	for i := range 30 {
		id := s.rt.NewID()
		cmd := s.command("create", "--bundle", b.Dir, id)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.must("delete", "--force", id)
	}
}

// serial is what differs in keyrings of the same kind: number, rights, name.
var serial = regexp.MustCompile(`;0;0;[0-9a-f]+;_ses.*`)

// TestLikeOthers compares what a program sees in the container with what it
// sees under Debian's crun and runc.
func TestLikeOthers(t *testing.T) {
	needRoot(t)
	for _, other := range []string{"/usr/bin/crun", "/usr/sbin/runc"} {
		for name, a := range map[string]account.Account{"ranged": ranged, "lonely": lonely} {
			t.Run(filepath.Base(other)+"-"+name, func(t *testing.T) {
				sees := func(program string) []any {
					s := sit(t, a, program)
					if program == "/usr/bin/crun" { // it refuses hybrid cgroups
						s.rt.Global = []string{"--cgroup-manager=disabled"}
					}
					leak.Check(t, s.dir)
					edits := []func(*specs.Spec){args("/probe", "report")}
					if a.Count > 0 {
						edits = append(edits, s.maps, func(spec *specs.Spec) { spec.Process.User.UID = 5 })
					}
					b := s.bundle(edits...)
					res := s.do("run", "--bundle", b.Dir, s.rt.NewID())
					if strings.Contains(res.Stderr, "cgroups in hybrid mode not supported") {
						t.Skip("cgroup layout: this crun refuses hybrid cgroups")
					}
					r := res.Report(t)
					r.Security.Keyring = serial.ReplaceAllString(r.Security.Keyring, ";0;0;*;session")
					return []any{r.IDs, r.Caps, r.UIDMap, r.GIDMap, r.Security, r.Host, r.Limits["RLIMIT_NOFILE"]}
				}
				if ours, theirs := sees(""), sees(other); !reflect.DeepEqual(ours, theirs) {
					t.Errorf("ours\n%+v\ntheirs\n%+v", ours, theirs)
				}
			})
		}
	}
}
