// Package order is how berth-uplink is called: its arguments, and the descriptors that it
// inherits. Whoever starts the uplink and the uplink itself share it, so it links nothing of
// the stack. Row 4.
package order

import (
	"errors"
	"fmt"
	"strconv"
)

// The descriptors that the uplink is started with.
const (
	// Tun is a file of /dev/net/tun that is attached to a device (IFF_TUN|IFF_NO_PI) in the
	// user's network namespace. The uplink sets O_NONBLOCK on it.
	Tun = 3
	// Life ends the uplink when it becomes readable or hangs up. What berth gives it does
	// neither: the holder ends the uplink, or who finds it with nobody inside.
	Life = 4
	// Network and Lock, where there are any, are kept open and not used: a file of nsfs, by
	// which the user's network is found if its holder was killed, and the lock that says
	// that there is an uplink.
	Network, Lock = 5, 6
)

// MTU is the device's, in bytes: the longest packet that is a multiple of 8 after its IPv4
// header, so that the pieces of a longer datagram fill it.
const MTU = 65520

// Bounds of Order.MTU: the least of IPv6 (RFC 8200, section 5), and what a packet can be.
const (
	minMTU = 1280
	maxMTU = 65535
)

// Order is what an uplink is told.
type Order struct {
	MTU int // of the device, in bytes; 0 for MTU
	// Host allows the addresses of the host itself, but for its loopback's.
	Host bool
	// Help and Version ask for a text, and nothing else is done.
	Help, Version bool
}

// Release is what --version says.
const Release = "0.1.0"

// Text is what --help says.
const Text = `Usage: berth-uplink [--mtu BYTES] [--host]

The way out of an ordinary user's network namespace: what is sent there to a device
is carried on by sockets of the host. berth starts it; it is of no use by hand.

  descriptor 3   a file of /dev/net/tun, attached to that device (IFF_TUN, IFF_NO_PI)
  descriptor 4   ends the program when it becomes readable: a pidfd, a pipe, a socket

  --mtu BYTES    of the device, 1280 to 65535 (default 65520)
  --host         lead to the host's own addresses too; never to its loopback
  --help         print this
  --version      print the version
`

// Arguments are the words after the program's name that Parse understands.
func (o Order) Arguments() []string {
	var list []string
	if o.MTU != 0 {
		list = append(list, "--mtu", strconv.Itoa(o.MTU))
	}
	if o.Host {
		list = append(list, "--host")
	}
	return list
}

// Parse reads the words after the program's name.
func Parse(args []string) (Order, error) {
	o := Order{MTU: MTU}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch word {
		case "--help", "-h":
			o.Help = true
		case "--version":
			o.Version = true
		case "--host":
			o.Host = true
		case "--mtu":
			if len(args) == 0 {
				return o, errors.New("--mtu needs a number of bytes")
			}
			n, err := strconv.Atoi(args[0])
			if err != nil || n < minMTU || n > maxMTU {
				return o, fmt.Errorf("--mtu %q is no number from %d to %d", args[0], minMTU, maxMTU)
			}
			o.MTU, args = n, args[1:]
		default:
			return o, fmt.Errorf("no argument %q here: see --help", word)
		}
	}
	return o, nil
}
