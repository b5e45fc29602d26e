// Package docker types the same command lines at Debian's docker, with a daemon
// of its own, and at berth under the name docker, and compares what they print,
// where, and the exit codes. The lines are data (cases), what the two may
// differ in by nature is in normalise_test.go; another difference stands with
// its reason below the line, and there may be few of them.
//
// A group about an option says what the option does, and must fail to see it
// when it is played without the option.
//
// Without BERTH_SWEEP=1 a sample is played, as many groups as are begun in a
// minute, in an order by BERTH_SEED. It belongs to the tests, outside the rows.
package docker

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/berth"
	"berth/test/netns"
	"berth/test/sample"
)

// most is how long groups are begun when not all are played.
const most = time.Minute

// spare is kept of the test's time for a long group and for what takes all away.
const spare = 40 * time.Second

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func TestCommandLines(t *testing.T) {
	netns.Need(t)
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	for _, wire := range []string{"wire0", "wire1"} { // parents of networks
		if _, err := netns.Run("ip", "link", "add", wire, "type", "bridge"); err != nil {
			t.Fatal(err)
		}
	}
	// Docker's daemon, which is told to leave it alone, warns where it is off.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	theirs, ours := startDocker(t), startOurs(t)
	giveImages(t, theirs, ours)
	words := startRegistries(t)
	theirs.words, ours.words = words, words
	whole := sample.Whole()
	if !whole {
		sample.Random(t, 1).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	begin := time.Now()
	for i, g := range all {
		if !whole && time.Since(begin) > most {
			t.Logf("%d of %d groups", i, len(all))
			break
		}
		if end, ok := t.Deadline(); ok && time.Until(end) < spare {
			t.Errorf("no time for %d of %d groups", len(all)-i, len(all))
			break
		}
		t.Run(g.name, func(t *testing.T) { compare(t, g, theirs, ours) })
	}
}

// compare plays a group with both at the same time, but for one that names a subnet: in one
// network namespace only the first of them may have it.
func compare(t *testing.T, g *group, theirs, ours *side) {
	type played struct {
		all []outcome
		err error
	}
	want := make(chan played, 1)
	go func() {
		var p played
		if !g.ours {
			p.all, p.err = theirs.play(g, 0)
		}
		want <- p
	}()
	if g.names("--subnet") {
		p := <-want
		want <- p
	}
	got, err := ours.play(g, 0)
	if err != nil {
		t.Errorf("berth: %v", err)
	}
	for option := 1; option <= g.options; option++ {
		control(t, g, option, ours, got)
	}
	w := <-want
	if w.err != nil {
		t.Errorf("docker: %v", w.err)
	}
	n, m := newNormal(theirs), newNormal(ours)
	for i, l := range g.lines {
		for _, c := range l.checks {
			if !c.holds(got[i]) {
				t.Errorf("%s: %s\nmust %s\n%s", l.at, l.text(), c, got[i])
			}
		}
		if !g.ours {
			l.same(t, n.outcome(w.all[i]), m.outcome(got[i]))
		}
	}
}

// same compares one line's outcomes.
func (l *line) same(t *testing.T, want, got outcome) {
	t.Helper()
	if want.code != got.code {
		t.Errorf("%s: %s\nexit code of docker %d, of berth %d\ndocker:\n%sberth:\n%s", l.at, l.text(), want.code, got.code, want, got)
		return
	}
	same := want == got
	switch {
	case !same && l.differs == "":
		t.Errorf("%s: %s\ndocker:\n%sberth:\n%s", l.at, l.text(), want, got)
	case same && l.differs != "":
		t.Errorf("%s: %s\ndoes not differ any more: %s", l.at, l.text(), l.differs)
	}
}

func (o outcome) String() string {
	var b strings.Builder
	for _, s := range []struct{ name, text string }{{"out", o.stdout}, {"err", o.stderr}} {
		for l := range strings.Lines(s.text) {
			line, ended := strings.CutSuffix(l, "\n")
			if !ended {
				line += " (no new line)"
			}
			fmt.Fprintf(&b, "    %s| %s\n", s.name, line)
		}
	}
	fmt.Fprintf(&b, "    exit %d\n", o.code)
	return b.String()
}

// control plays a group without an option: then something must not be seen, or
// a line that ended with it does not end in its time.
func control(t *testing.T, g *group, option int, ours *side, with []outcome) {
	t.Helper()
	got, err := ours.play(g, option)
	if err != nil {
		t.Errorf("without option %d: %v", option, err)
	}
	for i, l := range g.lines {
		if got[i].code == stopped && with[i].code != stopped {
			return
		}
		for _, c := range l.checks {
			if !c.holds(got[i]) {
				return
			}
		}
	}
	t.Errorf("without %s everything is seen all the same", g.option(option))
}

// names reports whether a word is in a line.
func (g *group) names(text string) bool {
	for _, l := range g.lines {
		for _, w := range l.words {
			if w.text == text {
				return true
			}
		}
	}
	return false
}

// option is the words of the n-th pair of parentheses.
func (g *group) option(n int) string {
	var words []string
	for _, l := range g.lines {
		for _, w := range l.words {
			if w.option == n {
				words = append(words, w.text)
			}
		}
	}
	return strings.Join(words, " ")
}

func environment(dir string, more ...string) []string {
	return append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TZ=UTC", "LC_ALL=C.UTF-8", "CALLER=here"}, more...)
}

// startDocker starts a daemon in this network namespace.
func startDocker(t *testing.T) *side {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	socket := "unix://" + dir + "/s"
	d := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", socket,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--storage-driver", "overlay2", "--log-level", "warn")
	d.Stdout, d.Stderr = log, log
	d.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.Start(); err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = d.Wait()                                                 // the signal ended it
		_ = unix.Unmount(dir+"/exec/netns/default", unix.MNT_DETACH) // dockerd leaves it
		if text, _ := os.ReadFile(log.Name()); t.Failed() && testing.Verbose() {
			t.Logf("%s", text[max(0, len(text)-4000):])
		}
	})
	s := &side{program: []string{"/usr/bin/docker", "-H", socket}, env: environment(dir), dir: dir, root: dir + "/data", ports: "180"}
	for range 600 {
		cmd := exec.Command("/usr/bin/docker", "-H", socket, "version")
		if cmd.Run() == nil {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("dockerd does not answer")
	return nil
}

// startOurs gives berth, as docker, a store and a run folder of its own.
func startOurs(t *testing.T) *side {
	t.Helper()
	program := ourProgram(t)
	dir := t.TempDir()
	for _, name := range []string{"docker", "berth"} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	run, err := os.MkdirTemp("/run", "bt") // sockets have short names only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	s := &side{program: []string{filepath.Join(dir, "docker")}, own: []string{filepath.Join(dir, "berth")}, dir: dir, root: dir + "/root", ports: "181"}
	s.env = environment(dir, "BERTH_ROOT="+s.root, "BERTH_RUN="+run, "BERTH_ETC="+dir+"/etc")
	return s
}

func ourProgram(t *testing.T) string {
	t.Helper()
	program, err := berth.Locate()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// remove takes away what a group left.
func (s *side) remove() error {
	for _, dir := range []string{".docker", "etc"} { // of logins and of the trust policy
		if err := os.RemoveAll(filepath.Join(s.dir, dir)); err != nil {
			return err
		}
	}
	type some struct{ list, remove []string }
	left := []some{
		{[]string{"ps", "-aq"}, []string{"rm", "-fv"}},
		{[]string{"network", "ls", "-q", "-f", "type=custom"}, []string{"network", "rm"}},
		{[]string{"volume", "ls", "-q"}, []string{"volume", "rm", "-f"}},
		{[]string{"images", "-a", "--format", "{{if or (eq .Tag \"<none>\") (eq .Repository \"<none>\")}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}"}, []string{"rmi", "-f"}},
	}
	if s.own != nil {
		left = append(left, some{[]string{"secret", "ls", "-q"}, []string{"secret", "rm"}})
	}
	for _, all := range left {
		out, err := s.cleanUp(all.list)
		if err != nil {
			return err
		}
		names := slices.DeleteFunc(strings.Fields(out), func(n string) bool { return n == "box:latest" || n == "rich:latest" })
		if len(names) == 0 {
			continue
		}
		if _, err := s.cleanUp(append(all.remove, names...)); err != nil {
			return err
		}
	}
	return nil
}

// cleanUp types a command line that is no part of a group.
func (s *side) cleanUp(args []string) (string, error) {
	cmd := exec.Command(s.program[0], slices.Concat(s.program[1:], args)...)
	cmd.Env = s.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}
