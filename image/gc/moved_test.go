package gc_test

import (
	"context"
	"testing"

	"berth/image/gc"
	"berth/image/snapshot"
)

// meddler does something between a collection's mark and its sweep.
type meddler struct {
	gc.Snapshots
	do func()
}

func (m *meddler) Usage(ctx context.Context, key string) (snapshot.Usage, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.Snapshots.Usage(ctx, key)
}

// A name that moves, after it was marked, to what nothing led to then keeps it.
func TestNameThatMovesWhileCollected(t *testing.T) {
	s := newStore(t)
	old, other := makeSample(2, 1000), makeSample(4, 1000)
	for _, i := range []sample{old, other} {
		if err := s.pull(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Names.Delete(ctx, other.name); err != nil {
		t.Fatal(err)
	}
	moved := imageOf(other)
	moved.Name = old.name
	asked := false
	s.Snapshots = &meddler{s.Snapshots, func() {
		asked = true
		if err := s.Names.Put(ctx, moved); err != nil {
			t.Error(err)
		}
	}}
	if _, err := s.Collect(ctx, gc.Options{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := s.has(other); !asked || n != len(other.blobs) {
		t.Errorf("%d of %d blobs of what the name leads to are left (asked: %v)", n, len(other.blobs), asked)
	}
}
