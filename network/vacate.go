package network

import (
	"fmt"
	"os"
	"slices"

	"berth/network/parent"
)

// OnParent reports whether the container has links to a parent interface.
func (a *Attachment) OnParent() bool {
	return slices.ContainsFunc(a.Endpoints, func(e Attached) bool { return e.Way != nil })
}

// Vacate takes the links to parent interfaces that the container is to have out of a
// namespace that others keep of its last run.
func (a *Attachment) Vacate(namespace *os.File) error {
	for _, e := range a.Endpoints {
		if e.Way == nil {
			continue
		}
		if err := parent.Unlink(*e.Way, e.Interface, namespace); err != nil {
			return fmt.Errorf("network %s: take the link of the last run away: %w", e.Network, err)
		}
	}
	return nil
}
