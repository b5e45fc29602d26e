package suite

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"berth/image/snapshot"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// manyPrepares prepares one key from many sides.
func manyPrepares(b *bench) {
	b.layer("base", "", nil)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s := []snapshot.Store{b.Store, b.other}[i%2]
			_, err := s.Prepare(b.ctx, "box", "base")
			switch {
			case err == nil:
				won.Add(1)
			case !errdefs.IsAlreadyExists(err):
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		b.Fatalf("%d won", won.Load())
	}
	b.names("base", "box")
}

// parentOrChild removes a parent while a child is made: one of both fails.
func parentOrChild(b *bench) {
	for i := range 50 {
		parent, child := fmt.Sprintf("p%d", i), fmt.Sprintf("c%d", i)
		b.layer(parent, "", nil)
		var wg sync.WaitGroup
		var made, removed error
		wg.Go(func() { _, made = b.Prepare(b.ctx, child, parent) })
		wg.Go(func() { removed = b.other.Remove(b.ctx, parent) })
		wg.Wait()
		switch {
		case made == nil && errdefs.IsFailedPrecondition(removed):
			_, err := b.Mounts(b.ctx, child)
			b.ok(err)
		case removed == nil && errdefs.IsNotFound(made):
		default:
			b.Fatalf("prepare: %v; remove: %v", made, removed)
		}
	}
}

func recordedUsage(b *bench) {
	f, err := b.PrepareLayer(b.ctx, "k")
	b.ok(err)
	defer f.Close()
	b.write(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "file", strings.Repeat("x", 100<<10))
	usage, err := b.Usage(b.ctx, "k")
	b.ok(err)
	if usage.Size < 100<<10 || usage.Size > 200<<10 || usage.Inodes != 2 {
		b.Fatalf("an active one takes %+v", usage)
	}
	said := snapshot.Usage{Size: 12345, Inodes: 77}
	b.ok(b.CommitLayer(b.ctx, snapshot.Layer{Name: "c", Key: "k", Usage: said}))
	if usage, err = b.other.Usage(b.ctx, "c"); err != nil || usage != said {
		b.Fatalf("a committed one takes %+v (%v), want %+v", usage, err, said)
	}
	_, err = b.Prepare(b.ctx, "k2", "")
	b.ok(err)
	b.ok(b.Commit(b.ctx, "c2", "k2"))
	if usage, err = b.Usage(b.ctx, "c2"); err != nil || usage.Inodes != 1 {
		b.Fatalf("an empty one takes %+v (%v)", usage, err)
	}
}

// tidyLeavesAll runs Cleanup and Sync again and again while snapshots come and
// go.
func tidyLeavesAll(b *bench) {
	b.layer("base", "", nil)
	stop := make(chan struct{})
	var tidy, work sync.WaitGroup
	for range 2 {
		tidy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := b.other.Cleanup(b.ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for i := range 4 {
		work.Go(func() {
			for j := range 40 {
				if err := life(b, fmt.Sprintf("%d.%d", i, j)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	close(stop)
	tidy.Wait()
	b.names("base")
}

// life makes a snapshot with one file, commits and relabels it, looks whether
// the file is there, and removes it.
func life(b *bench, name string) error {
	f, err := b.PrepareLayer(b.ctx, "k"+name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/file", f.Fd()), []byte(name), 0o600); err != nil {
		return err
	}
	if err := b.CommitLayer(b.ctx, snapshot.Layer{Name: "c" + name, Parent: "base", Key: "k" + name}); err != nil {
		return err
	}
	info := snapshot.Info{Name: "c" + name, Labels: map[string]string{"x": name}}
	if _, err := b.Update(b.ctx, info, "labels.x"); err != nil {
		return err
	}
	mounts, err := b.Prepare(b.ctx, "box"+name, "c"+name)
	if err != nil {
		return err
	}
	if len(mounts) != 1 {
		return fmt.Errorf("%d mounts", len(mounts))
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(f.Fd()), "file", &st, 0); err != nil || st.Nlink == 0 {
		return fmt.Errorf("the file of %s is gone: %v", name, err)
	}
	if err := b.Remove(b.ctx, "box"+name); err != nil {
		return err
	}
	return b.Remove(b.ctx, "c"+name)
}
