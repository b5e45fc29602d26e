package gc_test

import (
	"context"
	"path/filepath"
	"testing"

	"berth/base/flock"
	"berth/image/gc"
)

// detached looks at the collector's lock while a tree is unlinked.
type detached struct {
	gc.Snapshots
	locks       string
	freed, busy int
}

func (d *detached) Detach(ctx context.Context, key string) (func() error, error) {
	free, err := d.Snapshots.(interface {
		Detach(context.Context, string) (func() error, error)
	}).Detach(ctx, key)
	return func() error {
		d.freed++
		lock, err := flock.TryLock(filepath.Join(d.locks, "gc"))
		if err != nil {
			d.busy++
			return err
		}
		if err := lock.Unlock(); err != nil {
			return err
		}
		return free()
	}, err
}

// A big tree is unlinked without the lock that all writers wait for.
func TestTreesGoWithoutTheLock(t *testing.T) {
	s := newStore(t)
	i := makeSample(2, 1000)
	if err := s.pull(i); err != nil {
		t.Fatal(err)
	}
	if err := s.Names.Delete(ctx, i.name); err != nil {
		t.Fatal(err)
	}
	d := &detached{Snapshots: s.Snapshots, locks: s.Locks}
	s.Snapshots = d
	if _, err := s.Collect(ctx, gc.Options{}); err != nil {
		t.Fatal(err)
	}
	if blobs, layers := s.has(i); d.freed == 0 || d.busy > 0 || blobs+layers > 0 {
		t.Errorf("%d trees were freed, %d of them under the lock; %d blobs and %d layers are left", d.freed, d.busy, blobs, layers)
	}
}
