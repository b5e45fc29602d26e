package engine

import (
	"context"
	"errors"

	"berth/base/fault"
	"berth/network"
)

// NetworkRemoveRequest is network rm.
type NetworkRemoveRequest struct {
	Network string // name, id or unique beginning of an id
	// Unused refuses a network of containers that do not run, too; with Containers
	// all of its containers go first: podman's words.
	Unused, Containers bool
}

// NetworkRemove removes a network that no running container is on.
func NetworkRemove(ctx context.Context, e *Engine, r NetworkRemoveRequest) error {
	n, err := e.Networks.Find(r.Network)
	if fault.Is(err, fault.NotFound) { // or what a killed command left of it
		err = errors.Join(err, e.Networks.Sweep())
	}
	if err != nil {
		return err
	}
	if err := finishRewiring(ctx, e); err != nil {
		return err
	}
	uses, err := networkUsers(ctx, e)
	if err != nil {
		return err
	}
	info := uses.info(n)
	if !info.builtIn() {
		if err := emptied(ctx, e, info, &r); err != nil {
			return err
		}
	}
	return removeNetwork(ctx, e, n)
}

// emptied removes a network's containers, or refuses to.
func emptied(ctx context.Context, e *Engine, n *NetworkInfo, r *NetworkRemoveRequest) error {
	switch {
	case r.Containers:
		for _, id := range n.Users {
			if err := Remove(ctx, e, RemoveRequest{Container: id, Force: true, Volumes: true}); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
	case r.Unused && len(n.Users) > 0:
		return fault.New(fault.Conflict, "%q has associated containers with it. Use -f to forcibly delete containers and pods: network is being used", n.Name)
	}
	return nil
}

func removeNetwork(ctx context.Context, e *Engine, n *network.Network) error {
	if err := e.Networks.Remove(ctx, n); err != nil {
		return err
	}
	tellOfNetwork(e, n, "destroy", "")
	return nil
}
