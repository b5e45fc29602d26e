package gc_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/image/gc"

	"golang.org/x/sys/unix"
)

// TestPowerCut: a store on an ext4 in a file; a process pulls into it and says
// when an image is named. It is stopped at some moment and the file is copied:
// that is what a disk holds when the power goes. On the copy, in a process for
// which the machine has just started (its uptime, its boot id), every image
// that was acknowledged is whole, nothing is broken, and a pull works.
func TestPowerCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a loop device")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("needs loop devices in this kernel")
	}
	dir := t.TempDir()
	disk, root := filepath.Join(dir, "disk"), filepath.Join(dir, "root")
	os.Mkdir(root, 0o700)
	run(t, "truncate", "-s", "64M", disk)
	run(t, "mkfs.ext4", "-q", "-F", disk)
	run(t, "mount", "-o", "loop", disk, root)
	defer unix.Unmount(root, unix.MNT_DETACH)
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("BERTH_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("BERTH_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for cut := range 8 {
		if !cutPower(t, dir, time.Duration(50+r.IntN(400))*time.Millisecond) || t.Failed() {
			t.Fatalf("cut %d", cut)
		}
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// cutPower lets a puller work for a while, copies the disk and checks the copy.
func cutPower(t *testing.T, dir string, after time.Duration) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GC_TEST_POWER="+filepath.Join(dir, "root"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var mu sync.Mutex
	var acked []string
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			mu.Lock()
			acked = append(acked, sc.Text())
			mu.Unlock()
		}
	}()
	time.Sleep(after)
	mu.Lock()
	sure := slices.Clone(acked) // what it says from now on may be too late
	mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	copyDisk(t, filepath.Join(dir, "disk"), filepath.Join(dir, "copy"))
	if stderr.Len() > 0 {
		t.Error(stderr.String())
	}
	last := ""
	if len(sure) > 0 {
		last = sure[len(sure)-1]
		t.Logf("after %v: image %s is acknowledged", after, last)
	}
	return afterBoot(t, dir, last)
}

// copyDisk copies a disk as it is at one moment. The kernel may be writing to it: what it
// wrote while the copy was made could be there without what it wrote before.
func copyDisk(t *testing.T, disk, to string) {
	t.Helper()
	for range 50 {
		run(t, "cp", "--sparse=always", disk, to)
		if exec.Command("cmp", "-s", disk, to).Run() == nil {
			return
		}
	}
	t.Fatal("the kernel writes to the disk without end")
}

// afterBoot looks at the copy in a new boot.
func afterBoot(t *testing.T, dir, acked string) bool {
	t.Helper()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot"), []byte("00000000-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--time", "--fork", "--boottime", "-"+strconv.Itoa(int(up.Sec)-1), "sh", "-ec",
		`mkdir -p "$1/again"; mount -o loop "$1/copy" "$1/again"; mount --bind "$1/boot" /proc/sys/kernel/random/boot_id; r=0; "$2" || r=$?; umount "$1/again"; exit $r`,
		"sh", dir, os.Args[0])
	cmd.Env = append(os.Environ(), "GC_TEST_AFTER="+filepath.Join(dir, "again"), "GC_TEST_ACKED="+acked)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("after the power cut (acknowledged %q): %v: %s", acked, err, out)
	}
	return err == nil
}

// pullForEver pulls new images with one sync each, removes some, and says the
// number of the last one that is named.
func pullForEver(root string, out io.Writer) error {
	s, err := open(root, true)
	if err != nil {
		return err
	}
	s.Snapshots = nil // they sync the file system on their own
	for n := 0; ; n++ {
		if err := s.pull(makeSample(n, 20_000)); err != nil {
			return err
		}
		fmt.Fprintln(out, n)
		if n >= keptSamples {
			if err := s.Names.Delete(ctx, makeSample(n-keptSamples, 20_000).name); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			if _, err := s.Collect(ctx, gc.Options{}); err != nil {
				return err
			}
		}
	}
}

// keptSamples is how many images pullForEver keeps.
const keptSamples = 20

// lookAfter is the other side of TestPowerCut.
func lookAfter(root, acked string) error {
	s, err := open(root, true)
	if err != nil {
		return err
	}
	s.Snapshots = nil
	if acked != "" {
		last, err := strconv.Atoi(acked)
		if err != nil {
			return err
		}
		// The next ones may have removed the oldest already.
		for n := max(0, last-keptSamples/2); n <= last; n++ {
			i := makeSample(n, 20_000)
			if _, err := s.Names.Get(ctx, i.name); err != nil {
				return err
			}
			if b, _ := s.has(i); b != len(i.blobs) {
				return fmt.Errorf("image %d of %d: %d blobs are left", n, last, b)
			}
		}
	}
	found, err := s.Check(ctx, gc.CheckOptions{})
	if err != nil {
		return err
	}
	var harm []string
	for _, f := range found {
		if f.Harm {
			harm = append(harm, fmt.Sprintf("%+v", f))
		}
	}
	if len(harm) > 0 {
		return fmt.Errorf("check: %s", strings.Join(harm, "\n"))
	}
	if err := s.pull(makeSample(1_000_000, 20_000)); err != nil {
		return err
	}
	if _, err := s.Collect(ctx, gc.Options{}); err != nil {
		return err
	}
	_, err = s.Check(ctx, gc.CheckOptions{Repair: true})
	return err
}
