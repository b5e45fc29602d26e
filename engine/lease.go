package engine

import (
	"cmp"
	"context"
	"os"

	"berth/base/fault"
	"berth/container"
	"berth/network"
	"berth/sys/pidfd"
)

// leaseAddresses has DHCP servers give the container, whose first process waits or runs,
// the addresses that are theirs to give; fresh tells that some were.
func leaseAddresses(ctx context.Context, e *Engine, rec *container.Record, a *network.Attachment, pid int, ns *os.File) (fresh bool, err error) {
	if !a.Leases() {
		return false, nil
	}
	process, err := pidfd.Open(pid)
	if err != nil {
		return false, err
	}
	defer process.Close()
	by := network.Leaser{Hostname: cmp.Or(rec.Config.Hostname, string(rec.ID[:12])), Namespace: ns, Process: process}
	return network.Lease(e.Networks, a, by, func() (*os.File, error) { return beginSibling(ctx, e, "dhcp", nil) })
}

// leaseFiles writes into a starting container's files what servers have told.
func leaseFiles(ctx context.Context, e *Engine, rec *container.Record, a *network.Attachment) error {
	text, err := resolvConf(e, &rec.Config.Network, a)
	if err == nil {
		err = rewriteFile(e, rec, "resolv.conf", text)
	}
	if err != nil || rec.Config.Network.NoHosts {
		return err
	}
	return rewriteHosts(ctx, e, rec.ID)
}

// leaseAgain has a running container's leases kept whose keeper was killed. A verb that
// has the container does not wait for it.
func leaseAgain(ctx context.Context, e *Engine, id container.ID) error {
	l, err := e.Containers.TryLock(ctx, id)
	if fault.Is(err, fault.Busy) || fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Unlock()
	f, err := l.Facts()
	if err != nil || !f.State().Live() || f.Started == nil {
		return err
	}
	rec, err := l.Record()
	if err != nil {
		return err
	}
	a, err := e.Networks.Endpoints(id)
	if err != nil {
		return err
	}
	ns, err := networkOf(f.Started.PID)
	if err != nil {
		return err
	}
	defer ns.Close()
	_, err = leaseAddresses(ctx, e, rec, a, f.Started.PID, ns)
	return err
}
