package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/account"
)

// store is one store with its run folder and settings.
type store struct {
	dir  string
	user *account.Account // the ordinary user whose it is; nil: root's
}

func newStore(t testing.TB, dir string) store {
	t.Helper()
	s, err := storeOf(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func storeOf(user *account.Account, dir string) (store, error) {
	for _, d := range []string{"etc", "home", "root", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return store{}, err
		}
	}
	if user == nil {
		return store{dir: dir}, nil
	}
	return store{dir, user}, errors.Join(account.Open(dir), user.Give(dir))
}

// result is what a command left. Code is -1 when it did not end by itself in
// a minute.
type result struct {
	words       []string
	out, errors string
	code        int
}

func (r result) String() string {
	return fmt.Sprintf("berth %s: exit %d: %.600s%.300s", strings.Join(r.words, " "), r.code, r.errors, r.out)
}

// err is an error unless the command ended well.
func (r result) err() error {
	if r.code == 0 {
		return nil
	}
	return errors.New(r.String())
}

// argv is a command of the program's.
func (s store) argv(words ...string) []string {
	program := berth
	if s.user != nil {
		program = open
	}
	return append([]string{program, "--root", filepath.Join(s.dir, "root"), "--runroot", filepath.Join(s.dir, "run")}, words...)
}

// command is one that is not started, by another one unless by is empty: a tracer, which
// is root and makes it the user's.
func (s store) command(ctx context.Context, by []string, words ...string) *exec.Cmd {
	all := slices.Concat(by, s.argv(words...))
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env, cmd.Dir = s.env(), s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.user != nil && len(by) == 0 {
		cmd.SysProcAttr.Credential = s.user.Credential()
	}
	return cmd
}

func (s store) env() []string {
	return append(os.Environ(), "BERTH_ETC="+filepath.Join(s.dir, "etc"), "HOME="+filepath.Join(s.dir, "home"), "TZ=UTC",
		"XDG_RUNTIME_DIR="+filepath.Join(s.dir, "home"))
}

func (s store) do(words ...string) result { return s.under(nil, words...) }

// must is a command that has to end well.
func (s store) must(words ...string) error { return s.do(words...).err() }

// under runs a command by another one, the tracer.
func (s store) under(by []string, words ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := s.command(ctx, by, words...)
	cmd.WaitDelay = 5 * time.Second
	// What hangs says where.
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGQUIT) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	r := result{words: words, out: out.String(), errors: errs.String()}
	if err != nil {
		r.code = -1
		if cmd.ProcessState != nil && ctx.Err() == nil {
			r.code = cmd.ProcessState.ExitCode()
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				r.code = 128 + int(ws.Signal())
			}
		}
		if r.code == -1 {
			r.errors += fmt.Sprint(err)
		}
	}
	return r
}

// named says which image each name leads to. A command that lists must not
// have anything to complain about.
func (s store) named() (map[string]string, error) {
	r := s.do("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
	if r.code != 0 || r.errors != "" {
		return nil, errors.New(r.String())
	}
	out := map[string]string{}
	for line := range strings.Lines(r.out) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(name, "<none>") {
			out[name] = id
		}
	}
	return out, nil
}

// harmless are findings of check about what only takes space: what a killed
// process leaves until the next collection.
var harmless = regexp.MustCompile(`: (nothing leads to it \(|its owner is gone or its time is over|labels without a blob|an empty lease|half-written \()`)

// check looks for harm.
func (s store) check() error {
	r := s.do("check")
	if r.code != 0 && r.code != 1 || r.errors != "" {
		return errors.New(r.String())
	}
	for line := range strings.Lines(r.out) {
		if r.code == 1 && !harmless.MatchString(line) {
			return fmt.Errorf("check: %s", line)
		}
	}
	return nil
}

// whole looks at an image to the last byte: its tree, and its blobs by a save.
func (s store) whole(name, tree string) error {
	if err := s.must("save", "-o", "/dev/null", name); err != nil {
		return err
	}
	got, err := s.tree(name)
	if err == nil && tree != "" && got != tree {
		err = fmt.Errorf("the tree of %s is another:\n%s\nwanted:\n%s", name, got, tree)
	}
	return err
}

// tree is an image's tree, one line a file.
func (s store) tree(name string) (text string, err error) {
	if s.user != nil {
		return s.exported(name)
	}
	r := s.do("image", "mount", name)
	if r.code != 0 {
		return "", r.err()
	}
	defer func() { err = errors.Join(err, s.must("image", "unmount", name)) }()
	root := strings.TrimSpace(r.out)
	var lines strings.Builder
	// A process that another worker starts meanwhile has the open file, too, until
	// it executes, and the mount would be busy.
	syscall.ForkLock.RLock()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return describe(&lines, path, strings.TrimPrefix(path, root))
	})
	syscall.ForkLock.RUnlock() // before the deferred command
	return lines.String(), err
}

// trees are the trees of the images by their ids, as an undisturbed pull makes
// them.
type trees map[string]string

// trees pulls both images and looks at them.
func (s store) trees(h *hub) (trees, error) {
	if err := pullBoth(s, h); err != nil {
		return nil, err
	}
	all := trees{}
	for n, id := range h.ids {
		tree, err := s.tree(h.app(n + 1))
		if err != nil {
			return nil, err
		}
		all[id] = tree
	}
	return all, nil
}

// describe writes a file's line.
func describe(w io.Writer, path, name string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	links, stamp, size := st.Nlink, st.Mtim.Nano(), st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		links, size = 0, 0
		stamp = 0 // a folder that no layer names has the time of the unpacking
	}
	fmt.Fprintf(w, "%s %o %d:%d %d %d %d %x", name, st.Mode, st.Uid, st.Gid, links, size, stamp, st.Rdev)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, " -> %s", to)
	case unix.S_IFREG:
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		value := make([]byte, 100)
		n, _ := unix.Lgetxattr(path, "user.mark", value)
		fmt.Fprintf(w, " %x %q", sha256.Sum256(data), value[:max(n, 0)])
	}
	_, err := fmt.Fprintln(w)
	return err
}

// folders are those of an empty store. Volumes are a container's: where a tree was looked
// at through one.
var folders = strings.Fields(`. containers containers/d containers/names content content/blobs content/blobs/sha256 content/blobs/sha512
	content/ingest content/labels content/labels/sha256 content/labels/sha512 images leases lost+found names
	snapshots snapshots/by-key snapshots/children snapshots/d snapshots/stage snapshots/trash snapshots/unsynced volumes`)

// left lists what an empty store has too much: anything but its folders and
// locks.
func (s store) left() (out []string, err error) {
	root := filepath.Join(s.dir, "root")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case name == "locks":
			return fs.SkipDir
		case d.IsDir() && slices.Contains(folders, name), name == "containers/.boot":
			return nil
		}
		out = append(out, name)
		return nil
	})
	return out, err
}

// emptied removes everything, by names or by one prune, and wants nothing to
// be left.
func (s store) emptied(byName bool) error {
	if byName {
		names, err := s.named()
		if err != nil {
			return err
		}
		r := s.do("images", "-q", "--no-trunc")
		words := []string{"rmi", "-f"}
		for line := range strings.Lines(r.out) {
			if id := strings.TrimSpace(line); !slices.Contains(words, id) {
				words = append(words, id)
			}
		}
		if len(words) > 2 {
			if err := s.must(words...); err != nil {
				return fmt.Errorf("of %v: %w", names, err)
			}
		}
	} else if err := s.must("image", "prune", "-a", "-f"); err != nil {
		return err
	}
	left, err := s.left()
	if err != nil || len(left) == 0 {
		return err
	}
	// What is no blob, layer, lease or name may stay for an hour: its writer
	// could be about to go on.
	for _, name := range left {
		st, err := os.Lstat(filepath.Join(s.dir, "root", name))
		if err != nil {
			return err
		}
		if torn := st.Mode().IsRegular() && st.Size() == 0 && strings.HasPrefix(name, "leases/"); !torn && !debris.MatchString(name) {
			return fmt.Errorf("an empty store has %d things: %.1000q", len(left), left)
		}
		old := unix.NsecToTimespec(time.Now().Add(-25 * time.Hour).UnixNano())
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(s.dir, "root", name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if err := s.must("image", "prune", "-a", "-f"); err != nil {
		return err
	}
	if left, err = s.left(); err == nil && len(left) > 0 {
		err = fmt.Errorf("a day later an empty store has %.1000q", left)
	}
	return err
}

// debris is what a killed process leaves beside blobs, layers, leases and
// names.
var debris = regexp.MustCompile(`^((names|leases|images)/\.stage-[^/]+|images/[^/]+\.json|content/labels/sha256/[^/]+|content/ingest/[^/]+(/[^/]+)?|snapshots/(stage|trash|unsynced)/.*)$`)

// mounts are the mounts that the store has left on the machine.
func (s store) mounts() error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " "+s.dir+"/") && !strings.Contains(line, " "+s.dir+"/root ") {
			return fmt.Errorf("a mount is left: %s", line)
		}
	}
	return nil
}
