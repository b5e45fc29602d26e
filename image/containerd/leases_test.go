package containerd_test

import (
	"path/filepath"
	"testing"
	"time"

	"berth/image/containerd"
	"berth/image/lease"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

func TestLeases(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s, err := lease.Open(lease.Options{Dir: filepath.Join(root, "leases"), Locks: filepath.Join(root, "locks")})
	if err != nil {
		t.Fatal(err)
	}
	m := containerd.Leases{Store: s}
	l, err := m.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Hour), leases.WithLabel("k", "v"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, l.ID); err != nil {
		t.Error(err)
	} else if at, ok := got.Expiry(); !ok || time.Until(at) < 59*time.Minute {
		t.Errorf("expiry %v %v", at, ok)
	}
	r := leases.Resource{ID: "chain", Type: "snapshots/berth"}
	if err := m.AddResource(ctx, l, r); err != nil {
		t.Error(err)
	}
	if rs, err := m.ListResources(ctx, l); err != nil || len(rs) != 1 || rs[0] != r {
		t.Errorf("%v %v", rs, err)
	}
	if err := m.DeleteResource(ctx, l, r); err != nil {
		t.Error(err)
	}
	if rs, err := m.ListResources(ctx, l); err != nil || len(rs) != 0 {
		t.Errorf("after the delete: %v %v", rs, err)
	}
	if all, err := m.List(ctx, "labels.k==v"); err != nil || len(all) != 1 || all[0].ID != l.ID {
		t.Errorf("%v %v", all, err)
	}
	if err := m.Delete(ctx, l, leases.SynchronousDelete); err != nil {
		t.Error(err)
	}
	if err := m.Delete(ctx, l); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}
