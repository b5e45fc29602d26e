package containerd

import (
	"context"

	"berth/image/lease"

	"github.com/containerd/containerd/v2/core/leases"
)

// Leases is a store's leases.
type Leases struct{ Store *lease.Store }

var _ leases.Manager = Leases{}

func theirLease(l lease.Lease) leases.Lease {
	return leases.Lease{ID: l.ID, CreatedAt: l.CreatedAt, Labels: l.Labels}
}

// Create makes a lease that nobody owns.
func (s Leases) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	var l leases.Lease
	for _, opt := range opts {
		if err := opt(&l); err != nil {
			return l, err
		}
	}
	made, err := s.Store.Create(ctx, lease.WithID(l.ID), lease.WithLabels(l.Labels))
	return theirLease(made), err
}

// Delete ends a lease. What it kept stays until a collection.
func (s Leases) Delete(ctx context.Context, l leases.Lease, _ ...leases.DeleteOpt) error {
	return s.Store.Delete(ctx, lease.Lease{ID: l.ID})
}

// List lists the leases that a filter matches.
func (s Leases) List(ctx context.Context, filters ...string) ([]leases.Lease, error) {
	all, err := s.Store.List(ctx, filters...)
	var out []leases.Lease
	for _, l := range all {
		out = append(out, theirLease(l))
	}
	return out, err
}

// AddResource lets a lease keep a thing.
func (s Leases) AddResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	return s.Store.AddResource(ctx, lease.Lease{ID: l.ID}, lease.Resource(r))
}

// DeleteResource lets it keep a thing no longer.
func (s Leases) DeleteResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	return s.Store.DeleteResource(ctx, lease.Lease{ID: l.ID}, lease.Resource(r))
}

// ListResources lists what a lease keeps.
func (s Leases) ListResources(ctx context.Context, l leases.Lease) ([]leases.Resource, error) {
	all, err := s.Store.ListResources(ctx, lease.Lease{ID: l.ID})
	var out []leases.Resource
	for _, r := range all {
		out = append(out, leases.Resource(r))
	}
	return out, err
}
