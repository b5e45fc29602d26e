package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/fdpass"
)

// terminal gives a trial a terminal and returns the function that receives its
// master after the run has begun.
func (tr *trial) terminal(t *testing.T) (master func() *os.File) {
	t.Helper()
	needRoot(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]) })
	tr.spec.Process.Terminal = true
	tr.options.ConsoleSocket = func(*plan.Host) (*os.File, error) { return os.NewFile(uintptr(pair[1]), "console"), nil }
	return func() *os.File {
		text, fds, err := fdpass.Receive(pair[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != "/dev/pts/ptmx" {
			t.Errorf("the master came with the text %q", text)
		}
		return os.NewFile(uintptr(fds[0]), "master")
	}
}

// read collects what the terminal shows until all processes have left it.
func read(t *testing.T, master *os.File) string {
	t.Helper()
	defer master.Close()
	done := make(chan string)
	go func() {
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				done <- strings.ReplaceAll(string(all), "\r\n", "\n")
				return
			}
		}
	}()
	select {
	case s := <-done:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the terminal stays open")
		return ""
	}
}

func lines(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, l := range want {
		if !strings.Contains("\n"+got, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, got)
		}
	}
}

// An exec finds the devpts at its own /dev/pts.
func TestTerminalOfExec(t *testing.T) {
	s := newSpec()
	s.Process.ConsoleSize = &specs.Box{Height: 33, Width: 99}
	s.Process.User.UID = 1234
	tr := trial{spec: s, script: `tty > /dev/null && echo yes; stty size; stat -L -c 'owner %u' /proc/self/fd/0; echo open > /dev/tty
		ls /proc/self/fd | tr '\n' ' '; echo; cut -d' ' -f5,6,7,8 /proc/self/stat | awk '{print ($2 == $1 || 1), ($3 != 0), $4 > 0}'`}
	tr.options.Exec = true
	master := tr.terminal(t)
	o := tr.run(t)
	if o.err != "" {
		t.Fatal(o.err)
	}
	got := read(t, master())
	lines(t, got, "yes", "33 99", "owner 1234", "open", "0 1 2 3 ")
	if o.out != "" {
		t.Errorf("the caller's streams got %q", o.out)
	}
}

// root makes a directory with a devpts at dev/pts.
func root(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	pts := filepath.Join(dir, "dev/pts")
	if err := os.MkdirAll(pts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("devpts", pts, "devpts", 0, "newinstance,ptmxmode=0666"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(pts, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// inRoot opens dir as the container's root in a new mount namespace; the
// process stays outside, so that it can use the host's programs.
func (tr *trial) inRoot(dir string) {
	tr.create = unix.CLONE_NEWNS
	tr.before = func(b *plan.Builder) {
		b.Add(&initproc.OpenRoot{Path: dir, Tree: initproc.NoFD, Mounts: true})
	}
}

func TestTerminalOnDevConsole(t *testing.T) {
	dir := root(t)
	s := newSpec()
	tr := trial{spec: s, script: "stat -c 'console %t' " + dir + "/dev/console; tty <" + dir + "/dev/console >/dev/null && echo is a tty"}
	tr.inRoot(dir)
	master := tr.terminal(t)
	o := tr.run(t)
	if o.err != "" {
		t.Fatal(o.err)
	}
	lines(t, read(t, master()), "console 88") // major 136
}

// V3: an image whose /dev or /dev/console is a link must not make us mount the
// terminal elsewhere.
func TestTerminalDoesNotFollowLinks(t *testing.T) {
	for _, tc := range []struct{ name, link, target string }{
		{"absolute", "dev/console", "/proc/sys/kernel/core_pattern"},
		{"upwards", "dev/console", "../../../../../../../../etc/hostname"},
		{"dangling", "dev/console", "/victim"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := root(t)
			if err := os.Symlink(tc.target, filepath.Join(dir, tc.link)); err != nil {
				t.Fatal(err)
			}
			s := newSpec()
			tr := trial{spec: s, script: "grep ' devpts ' /proc/self/mountinfo"}
			tr.inRoot(dir)
			master := tr.terminal(t)
			o := tr.run(t)
			if o.err == "" {
				t.Fatalf("the link was followed:\n%s", read(t, master()))
			}
			o.refused(t, "set up the terminal: mount on /dev/console")
			if _, err := os.Lstat("/victim"); err == nil {
				os.Remove("/victim")
				t.Error("a file was made on the host")
			}
		})
	}
}

func TestTerminalNeedsDevpts(t *testing.T) {
	needRoot(t)
	for _, tc := range []struct {
		name, want string
		make       func(dir string) error
	}{
		{"no /dev", "open /dev: no such file", func(dir string) error { return os.Mkdir(dir, 0o755) }},
		{"/dev is a link", "open /dev: ", func(dir string) error {
			return os.MkdirAll(dir, 0o755)
		}},
		{"plain folder", "needs a devpts mounted on /dev/pts", func(dir string) error { return os.MkdirAll(dir+"/dev/pts", 0o755) }},
		{"pts is a link", "open /dev/pts/ptmx: ", func(dir string) error {
			if err := os.MkdirAll(dir+"/dev", 0o755); err != nil {
				return err
			}
			return os.Symlink("/dev/pts", dir+"/dev/pts")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "root")
			if err := tc.make(dir); err != nil {
				t.Fatal(err)
			}
			if tc.name == "/dev is a link" {
				if err := os.Symlink("/dev", dir+"/dev"); err != nil {
					t.Fatal(err)
				}
			}
			s := newSpec()
			tr := trial{spec: s, script: "true"}
			tr.inRoot(dir)
			tr.terminal(t)
			tr.run(t).refused(t, "set up the terminal", tc.want)
		})
	}
}
