package engine

import (
	"cmp"
	"context"
	"os"

	"berth/container"
	"berth/network"
	"berth/sys/pidfd"
)

// leaseAddresses has DHCP servers give the container, whose first process waits, the
// addresses that are theirs to give.
func leaseAddresses(ctx context.Context, e *Engine, rec *container.Record, a *network.Attachment, pid int, ns *os.File) error {
	if !a.Leased() {
		return nil
	}
	process, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	by := network.Leaser{Hostname: cmp.Or(rec.Config.Hostname, string(rec.ID[:12])), Namespace: ns, Process: process}
	if err := network.Lease(e.Networks, a, by, func() (*os.File, error) { return beginSibling(ctx, e, "dhcp") }); err != nil {
		return err
	}
	if rec.Config.Network.NoHosts {
		return nil
	}
	return rewriteHosts(ctx, e, rec.ID)
}
