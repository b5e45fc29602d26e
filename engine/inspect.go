package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/image"
	"berth/network"
)

// Inspection is all that is known of a container.
type Inspection struct {
	Record *container.Record
	Facts  *container.Facts
	// Networks is what it has now; nil if it is on none.
	Networks *network.Attachment
	Tree     image.Writable
	Home     string // its folder in the store
	// HealthLog is the last results of its healthcheck.
	HealthLog []container.HealthResult
	Links     []string // as docker writes them
}

// Inspect tells all that is known of a container.
func Inspect(ctx context.Context, e *Engine, name string) (*Inspection, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Record: rec, Home: e.Containers.Home(rec.ID), Links: linkWords(ctx, e, rec)}
	if i.Facts, err = e.facts(ctx, rec.ID); err != nil {
		return nil, err
	}
	if i.Networks, err = e.Networks.Endpoints(rec.ID); err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if i.Tree, err = e.Writables.Find(ctx, rec.Snapshot); err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if rec.Resolved.Health != nil {
		if i.HealthLog, err = e.Containers.HealthLog(ctx, rec.ID); err != nil {
			return nil, err
		}
	}
	return i, nil
}
