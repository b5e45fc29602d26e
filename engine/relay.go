package engine

import (
	"context"
	"os"

	"berth/container"
	"berth/monitor"
	"berth/network"
)

// Published ports of a container are served at ::1, and where it has IPv4 alone at all of
// the host's IPv6 addresses, and of an ordinary user everywhere, by a relay, once somebody comes there: docs/journeys/packet.md.

// awaitVisitors has a container's monitor wait for the first who comes to such a port. It
// ends the relay that there was.
func awaitVisitors(a *network.Attachment, conn *monitor.Conn) error {
	bell, err := network.Bell(a)
	if err != nil {
		return err
	}
	if bell != nil {
		defer bell.Close()
	}
	return monitor.Relay(conn, bell)
}

// RelayDue has ports relayed to a container: somebody has come to one, or the relay was
// lost.
func RelayDue(ctx context.Context, e *Engine, id container.ID) error {
	return besideDue(ctx, e, id, func(_ int, conn *monitor.Conn) error {
		held, err := conn.Held()
		if err != nil {
			return err
		}
		defer closeFiles(held)
		beside, err := network.Relay(e.Networks, id, held, func(in *os.File) (*os.File, error) { return beginSibling(ctx, e, "relay", in) })
		if err != nil || beside == nil {
			return err
		}
		defer beside.Close()
		if err := monitor.Relay(conn, beside); err != nil {
			return err
		}
		return conn.Settle()
	})
}
