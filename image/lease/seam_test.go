package lease_test

import (
	"context"
	"testing"
	"time"

	"berth/image/lease"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// seam is what a program that links gRPC anyway puts around a store to have
// containerd's interface.
type seam struct{ s *lease.Store }

var _ leases.Manager = seam{}

func theirs(l lease.Lease) leases.Lease {
	return leases.Lease{ID: l.ID, CreatedAt: l.CreatedAt, Labels: l.Labels}
}

func (m seam) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	var l leases.Lease
	for _, o := range opts {
		if err := o(&l); err != nil {
			return l, err
		}
	}
	made, err := m.s.Create(ctx, lease.WithID(l.ID), lease.WithLabels(l.Labels))
	return theirs(made), err
}

func (m seam) Delete(ctx context.Context, l leases.Lease, _ ...leases.DeleteOpt) error {
	return m.s.Delete(ctx, lease.Lease{ID: l.ID})
}

func (m seam) List(ctx context.Context, filters ...string) ([]leases.Lease, error) {
	all, err := m.s.List(ctx, filters...)
	var out []leases.Lease
	for _, l := range all {
		out = append(out, theirs(l))
	}
	return out, err
}

func (m seam) AddResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	return m.s.AddResource(ctx, lease.Lease{ID: l.ID}, lease.Resource(r))
}

func (m seam) DeleteResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	return m.s.DeleteResource(ctx, lease.Lease{ID: l.ID}, lease.Resource(r))
}

func (m seam) ListResources(ctx context.Context, l leases.Lease) ([]leases.Resource, error) {
	all, err := m.s.ListResources(ctx, lease.Lease{ID: l.ID})
	var out []leases.Resource
	for _, r := range all {
		out = append(out, leases.Resource(r))
	}
	return out, err
}

func TestContainerdsShape(t *testing.T) {
	s, _ := store(t)
	m := seam{s}
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
