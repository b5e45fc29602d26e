package rootless

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/sys/proc"
	"berth/test/account"
)

// desk is a user's home with berth in it.
type desk struct {
	account.Account
	dir string
	env []string
	t   *testing.T
}

func newDesk(t *testing.T, a account.Account) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-user-")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Account: a, dir: dir, t: t}
	d.env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "PATH=/usr/bin:/bin"}
	t.Cleanup(func() {
		d.clear()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	program, err := filepath.Abs("../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := account.Copy(program, dir); err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.Give(dir); err != nil {
		t.Fatal(err)
	}
	return d
}

// command prepares berth as the user.
func (d *desk) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(d.dir, "berth"), args...)
	cmd.Dir, cmd.Env = d.dir, d.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.Credential()}
	return cmd
}

// ok runs berth, which must end well.
func (d *desk) ok(args ...string) string {
	d.t.Helper()
	out, err := d.command(args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("berth %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// no runs berth, which must fail and say so.
func (d *desk) no(says string, args ...string) {
	d.t.Helper()
	out, err := d.command(args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), says) {
		d.t.Errorf("berth %s: %v: %s, not %q", strings.Join(args, " "), err, out, says)
	}
}

// holder is the pid of the user's holder, 0 without one.
func (d *desk) holder() int {
	text, err := os.ReadFile(filepath.Join(d.dir, "run/berth/holder"))
	if err != nil {
		return 0
	}
	pid, _, _ := strings.Cut(string(text), " ")
	n, _ := strconv.Atoi(pid)
	return n
}

// settled waits until no holder is left: monitors end after the commands.
func (d *desk) settled() bool {
	last := d.holder()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now := d.holder(); now != 0 {
			last = now
		} else if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", last)); err != nil || strings.Contains(string(text), ") Z ") {
			return true
		}
	}
	return false
}

// write makes a file of the user's.
func (d *desk) write(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chown(path, int(d.UID), int(d.GID)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) clear() {
	out, err := d.command("ps", "-aq").Output()
	if ids := strings.Fields(string(out)); err == nil && len(ids) > 0 {
		_ = d.command(append([]string{"rm", "-f"}, ids...)...).Run()
	}
	if pid := d.holder(); pid != 0 && !d.settled() {
		d.t.Errorf("the holder, process %d, is still there", pid)
	}
}

var people = map[string]*account.Account{"ranges": &ranged, "one id": &lonely}

// TestContainersAtOnce starts containers from many commands that find no
// namespace: they share the one that the first of them makes.
func TestContainersAtOnce(t *testing.T) {
	needRoot(t)
	for name, who := range people {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, *who)
			const many = 6
			seen := make([]string, many)
			var all sync.WaitGroup
			for i := range many {
				all.Go(func() {
					id := fmt.Sprintf("many-%d", i)
					out, err := d.command("run", "-d", "--name", id, "--network", "none", "berth/base", "sleep", "1000").CombinedOutput()
					if err != nil {
						seen[i] = fmt.Sprintf("%v: %s", err, out)
						return
					}
					out, _ = d.command("exec", id, "readlink", "/proc/self/ns/user").CombinedOutput()
					seen[i] = string(out)
				})
			}
			all.Wait()
			for _, ns := range seen {
				if ns != seen[0] || !strings.HasPrefix(ns, "user:[") {
					t.Fatalf("namespaces %q", seen)
				}
			}
			first := d.holder()
			d.ok("ps")
			if first == 0 || d.holder() != first {
				t.Errorf("holder %d, then %d", first, d.holder())
			}
			for i := range many {
				d.ok("rm", "-f", fmt.Sprintf("many-%d", i))
			}
			if !d.settled() {
				t.Error("the holder outlives the containers")
			}
		})
	}
}

// TestCallerKilled kills the command outside: the one inside ends with it, and
// the container lives on.
func TestCallerKilled(t *testing.T) {
	needRoot(t)
	for name, who := range people {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, *who)
			var out bytes.Buffer
			cmd := d.command("run", "--name", "left", "--network", "none", "berth/base", "sleep", "1000")
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			d.until("left running", "ps", "--format", "{{.Names}} {{.State}}")
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // waits for the end of out too, which the process inside has
			if got := d.ok("exec", "left", "echo", "lives"); got != "lives\n" {
				t.Errorf("exec says %q", got)
			}
			d.ok("rm", "-f", "left")
		})
	}
}

// until runs berth until it prints a text.
func (d *desk) until(text string, args ...string) {
	d.t.Helper()
	var out []byte
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if out, _ = d.command(args...).CombinedOutput(); strings.Contains(string(out), text) {
			return
		}
	}
	d.t.Fatalf("berth %s: %s, never %q", strings.Join(args, " "), out, text)
}

// TestBadSurroundings: folders that are another's or nobody's are named, not
// used.
func TestBadSurroundings(t *testing.T) {
	needRoot(t)
	for name, who := range people {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, *who)
			good := d.env
			with := func(values ...string) {
				d.env = append([]string{"PATH=/usr/bin:/bin"}, values...)
			}
			home, run := "HOME="+d.dir, "XDG_RUNTIME_DIR="+filepath.Join(d.dir, "run")

			with(home, "XDG_RUNTIME_DIR="+t.TempDir()) // root's, mode 0700 above it
			d.no("make the run folder", "ps")
			theirs := filepath.Join(d.dir, "theirs")
			if err := os.MkdirAll(filepath.Join(theirs, "berth"), 0o777); err != nil {
				t.Fatal(err)
			}
			with(home, "XDG_RUNTIME_DIR="+theirs)
			d.no("belongs to user 0", "ps")
			with(home, "XDG_RUNTIME_DIR=relative")
			d.no("is no absolute path", "ps")
			with(home, "XDG_RUNTIME_DIR=/proc/nonexistent")
			d.no("make the run folder", "ps")
			link := filepath.Join(d.dir, "links")
			if err := os.Mkdir(link, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(d.dir, "run"), filepath.Join(link, "berth")); err != nil {
				t.Fatal(err)
			}
			with(home, "XDG_RUNTIME_DIR="+link)
			d.no("is no folder", "ps")

			with(run) // passwd(5) knows a home for one of them, and neither is there
			d.no("permission denied", "ps")

			// Another user's holder is not joined, whatever its file says.
			d.env = good
			d.ok("run", "-d", "--name", "mine", "--network", "none", "berth/base", "sleep", "1000")
			file := filepath.Join(d.dir, "run/berth/holder")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			own := strings.Fields(string(text))
			st, err := proc.ReadStat(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			ns, err := os.Readlink("/proc/self/ns/user")
			if err != nil {
				t.Fatal(err)
			}
			forged := fmt.Sprintf("%d %d %s %s\n", os.Getpid(), st.StartTime, own[2], ns)
			d.write(file, forged)
			if out := d.ok("ps", "-a", "--format", "{{.Names}}"); out != "mine\n" {
				t.Errorf("ps says %q", out)
			}
			d.write(file, string(text))
			d.ok("rm", "-f", "mine")
		})
	}
}

// TestWithoutMappers hides newuidmap from a user with ranges: images go on, and
// containers say which package is missing.
func TestWithoutMappers(t *testing.T) {
	needRoot(t)
	d := newDesk(t, ranged)
	berth := func(args string) (string, error) {
		script := fmt.Sprintf("for p in /usr/bin/newuidmap /usr/bin/newgidmap; do mount --bind /dev/null $p; done; exec %s%s %s", d.Prefix(), filepath.Join(d.dir, "berth"), args)
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
		cmd.Dir, cmd.Env = d.dir, d.env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := berth("images -q"); err != nil || out != "" {
		t.Errorf("images: %v: %s", err, out)
	}
	out, err := berth("run --rm --network none berth/base true")
	if err == nil || !strings.Contains(out, "install the package uidmap") {
		t.Errorf("run: %v: %s", err, out)
	}
}
