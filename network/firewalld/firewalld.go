// Package firewalld tells firewalld, by D-Bus, that a bridge is to be trusted:
// what it does not know it rejects. Row 3, below network.
package firewalld

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// Table is the nftables table, of the family inet, that firewalld keeps while it
// runs; its other backends accept what they do not know.
const Table = "firewalld"

const (
	name    = "org.fedoraproject.FirewallD1"
	trusted = "trusted" // firewalld.zones(5): all is accepted
	timeout = 10 * time.Second
)

// Trust puts bridges that are in no zone into the zone that accepts all, until
// firewalld is loaded anew; what the administrator put elsewhere stays there.
// (firewalld.dbus(5), zone.addInterface)
func Trust(bridges []string) error {
	return each(bridges, func(ctx context.Context, o dbus.BusObject, bridge string) error {
		var zone string
		if err := o.CallWithContext(ctx, name+".zone.getZoneOfInterface", 0, bridge).Store(&zone); err != nil || zone != "" {
			return err
		}
		return o.CallWithContext(ctx, name+".zone.addInterface", 0, trusted, bridge).Err
	})
}

// Forget takes bridges out of that zone again.
func Forget(bridges []string) error {
	return each(bridges, func(ctx context.Context, o dbus.BusObject, bridge string) error {
		var there bool
		if err := o.CallWithContext(ctx, name+".zone.queryInterface", 0, trusted, bridge).Store(&there); err != nil || !there {
			return err
		}
		return o.CallWithContext(ctx, name+".zone.removeInterface", 0, trusted, bridge).Err
	})
}

func each(bridges []string, do func(context.Context, dbus.BusObject, string) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := dbus.Dial(cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket"), dbus.WithContext(ctx))
	if err == nil {
		defer c.Close()
		if err = c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err == nil {
			err = c.Hello()
		}
	}
	for _, b := range bridges {
		if err != nil {
			break
		}
		err = do(ctx, c.Object(name, "/org/fedoraproject/FirewallD1"), b)
	}
	if err != nil {
		return fmt.Errorf("tell firewalld of the bridges of networks: %w; is it well? firewall.integrate=false in berth.toml leaves it alone", err)
	}
	return nil
}
