package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/sample"
)

// needLoop mounts an ext4 in a file of dir on dir/root.
func needLoop(t *testing.T, dir, size string, options ...string) (disk string) {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("needs loop devices in this kernel")
	}
	disk = filepath.Join(dir, "disk")
	program(t, "truncate", "-s", size, disk)
	program(t, "mkfs.ext4", append(append([]string{"-q", "-F"}, options...), disk)...)
	program(t, "mount", "-o", "loop", disk, filepath.Join(dir, "root"))
	t.Cleanup(func() {
		if err := unix.Unmount(filepath.Join(dir, "root"), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk
}

func program(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// steps is what one life of the store under power cuts does, over and over.
// Each step says what it changes.
func steps(s store, h *hub) []struct {
	words  []string
	change func(names)
} {
	archive := filepath.Join(s.dir, "both.tar")
	set := func(name string, n int) func(names) { return func(all names) { all[name] = h.ids[n] } }
	return []struct {
		words  []string
		change func(names)
	}{
		{[]string{"pull", "-q", h.app(1)}, set(h.app(1), 0)},
		{[]string{"tag", h.app(1), "kept:1"}, set("kept:1", 0)},
		{[]string{"pull", "-q", h.app(2)}, set(h.app(2), 1)},
		{[]string{"rmi", h.app(1)}, func(all names) { delete(all, h.app(1)) }},
		{[]string{"tag", h.app(2), "kept:1"}, set("kept:1", 1)},
		{[]string{"rmi", "-f", h.app(2), "kept:1"}, func(all names) { clear(all) }},
		{[]string{"image", "prune", "-a", "-f"}, func(all names) { clear(all) }},
		{[]string{"load", "-q", "-i", archive}, func(all names) { all[h.app(1)], all[h.app(2)] = h.ids[0], h.ids[1] }},
		{[]string{"image", "prune", "-a", "-f"}, func(all names) { clear(all) }},
	}
}

// history is what was acknowledged, and what is being done at the moment.
type history struct {
	sync.Mutex
	sure, next names // next is sure when the command under way has ended
	cmd        *exec.Cmd
	stop       bool
	err        error
	looking    sync.Mutex // held while a copy is looked at: no command begins
}

// await waits until nobody looks at a copy.
func (y *history) await() {
	y.looking.Lock()
	defer y.looking.Unlock()
}

// live does the steps until it is stopped.
func (y *history) live(s store, h *hub) {
	for {
		for _, step := range steps(s, h) {
			y.await()
			cmd := s.command(context.Background(), nil, step.words...)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			y.Lock()
			if y.stop {
				y.Unlock()
				return
			}
			y.next = maps.Clone(y.sure)
			step.change(y.next)
			y.err = cmd.Start()
			y.cmd = cmd
			y.Unlock()
			if y.err != nil {
				return
			}
			err := cmd.Wait()
			y.Lock()
			y.cmd, y.sure = nil, y.next
			if err != nil {
				y.err = fmt.Errorf("berth %v: %w: %s", step.words, err, errs.String())
			}
			y.Unlock()
			if err != nil {
				return
			}
		}
	}
}

// errMoving is said of a command that does not stop, as one does not that is in
// a vfork(2) whose child has stopped.
var errMoving = errors.New("the command does not stop")

// stopped stops all threads of the command under way and waits until they are:
// one that waits for the disk stops only then.
func stopped(pgid int) error {
	if err := unix.Kill(-pgid, unix.SIGSTOP); err != nil {
		if errors.Is(err, unix.ESRCH) { // it has just ended
			return nil
		}
		return err
	}
	for range 500 {
		running := 0
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, f := range stats {
			if fields := statFields(f); len(fields) > 2 && fields[2] == strconv.Itoa(pgid) {
				tasks, _ := filepath.Glob(filepath.Dir(f) + "/task/*/stat")
				for _, task := range tasks {
					if fields := statFields(task); len(fields) > 0 && !strings.Contains("TtZX", fields[0]) {
						running++
					}
				}
			}
		}
		if running == 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errMoving
}

// statFields are those of proc_pid_stat(5) from the state on.
func statFields(path string) []string {
	data, _ := os.ReadFile(path)
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// TestPowerCut copies the bytes of a device at moments at which berth works on
// it: what a disk holds when the power goes. On the copy everything that was
// acknowledged is there and whole, and the next commands work.
func TestPowerCut(t *testing.T) {
	needRoot(t)
	rng := sample.Random(t, 3)
	dir := t.TempDir()
	s, h := newStore(t, dir), newHub()
	defer h.close()
	if err := saved(s, h); err != nil {
		t.Fatal(err)
	}
	want, err := newStore(t, filepath.Join(dir, "first")).trees(h)
	if err != nil {
		t.Fatal(err)
	}
	disk := needLoop(t, dir, "96M")
	y := &history{sure: names{}, next: names{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		y.live(s, h)
	}()
	cuts := 12
	if sample.Whole() {
		cuts = 200
	}
	found, full := 0, 0
	for cut := range cuts {
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		n, err := y.cut(t, dir, disk, h, want)
		if err != nil {
			t.Errorf("cut %d: %v", cut, err)
			break
		}
		if found += n; n > 0 {
			full++
		}
	}
	t.Logf("%d names after the cuts, at %d of %d", found, full, cuts)
	y.Lock()
	y.stop = true
	y.Unlock()
	<-done
	if y.err != nil {
		t.Error(y.err)
	}
}

// cut stops the command under way, copies the device, lets the command go on
// to its end, and looks at the copy. It tells how
// many names are in it.
func (y *history) cut(t *testing.T, dir, disk string, h *hub, want trees) (int, error) {
	y.looking.Lock()
	defer y.looking.Unlock()
	y.Lock()
	sure, next, cmd, err := y.sure, y.next, y.cmd, y.err
	if err == nil && cmd != nil {
		err = stopped(cmd.Process.Pid)
	}
	if err == nil {
		err = copyStill(disk, filepath.Join(dir, "copy"))
	}
	if cmd != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
	}
	y.Unlock()
	if errors.Is(err, errMoving) {
		return 0, nil // no cut here
	}
	if err != nil {
		return 0, err
	}
	for ended := cmd == nil; !ended; time.Sleep(time.Millisecond) {
		y.Lock()
		ended = y.cmd != cmd
		y.Unlock()
	}
	again := newStore(t, filepath.Join(dir, "again"))
	root := filepath.Join(again.dir, "root")
	program(t, "mount", "-o", "loop", filepath.Join(dir, "copy"), root)
	defer unix.Unmount(root, unix.MNT_DETACH)
	got, err := again.named()
	if err != nil {
		return 0, err
	}
	for name, id := range got {
		if sure[name] != id && next[name] != id {
			return 0, fmt.Errorf("%v after the cut, acknowledged was %v, next %v", got, sure, next)
		}
	}
	for name, id := range sure {
		if next[name] == id && got[name] != id {
			return 0, fmt.Errorf("%v after the cut, acknowledged was %v", got, sure)
		}
	}
	if err := again.good(got, want); err != nil {
		return 0, fmt.Errorf("after the cut, %v: %w", slices.Sorted(maps.Keys(got)), err)
	}
	if err := errors.Join(again.must("pull", "-q", h.app(1)), again.whole(h.app(1), want[h.ids[0]]), again.check(), again.emptied(false)); err != nil {
		return 0, fmt.Errorf("after the cut and a pull: %w", err)
	}
	return len(got), again.mounts()
}

// copyStill copies a device's file as it is at one moment: the kernel may write
// to it although the command is stopped, so it takes two equal copies.
func copyStill(from, to string) error {
	last := ""
	for range 100 {
		sum, err := copySparse(from, to)
		if err != nil || sum == last {
			return err
		}
		last = sum
	}
	return errors.New("the device is never still")
}

// copySparse copies what is allocated of a file and tells its digest.
func copySparse(from, to string) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return "", err
	}
	_ = os.Remove(to) // the device of the last look may still write to that one
	out, err := os.Create(to)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if err := out.Truncate(st.Size()); err != nil {
		return "", err
	}
	h := sha256.New()
	for at := int64(0); ; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return fmt.Sprintf("%x", h.Sum(nil)), out.Sync()
		}
		if err != nil {
			return "", err
		}
		if at, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE); err != nil {
			return "", err
		}
		if _, err := io.Copy(io.MultiWriter(h, io.NewOffsetWriter(out, start)), io.NewSectionReader(in, start, at-start)); err != nil {
			return "", err
		}
	}
}
