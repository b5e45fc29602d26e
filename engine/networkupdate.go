package engine

import (
	"context"
	"errors"
	"slices"

	"berth/base/fault"
	"berth/container"
	"berth/network"
)

// NetworkUpdate changes a network, and what its running containers see of it.
func NetworkUpdate(ctx context.Context, e *Engine, r network.UpdateRequest) (*network.Network, error) {
	n, err := e.Networks.Update(ctx, r)
	if err != nil {
		return nil, err
	}
	tellOfNetwork(e, n, "update", "")
	if len(r.DNS) == 0 && len(r.DropDNS) == 0 {
		return n, nil
	}
	all, err := Containers(ctx, e)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range all {
		if !slices.Contains(all[i].Networks, n.Name) || !all[i].State().Live() {
			continue
		}
		err := change(ctx, e, string(all[i].ID), func(_ *container.Locked, rec *container.Record, f *container.Facts) error {
			if !f.State().Live() {
				return nil
			}
			n, err := naming(e, rec)
			if err != nil {
				return err
			}
			return e.Networks.SetNaming(rec.ID, n)
		})
		if !fault.Is(err, fault.NotFound) { // it went meanwhile
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}
