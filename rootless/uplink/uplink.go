// Package uplink is the program berth-uplink: a network stack in user mode that carries
// what an ordinary user's network namespace sends to the world, as no rule of the host's
// firewall and no device of the host is that user's to set.
//
//	the user's namespace            berth-uplink              the host's namespace
//	container ─▶ bridge ─▶ tun ═══▶ link ─▶ gVisor's stack
//	                                   TCP: SYN ─▶ reach ─▶ dial, then answer ─▶ copy
//	                                   UDP: flow ─▶ reach ─▶ socket
//	                                   echo ───────▶ reach ─▶ ping socket (icmp(7))
//
// A connection is answered only when the other end has answered: who is refused out there is
// refused in here, and who gets no answer waits. reach asks the kernel, for each flow,
// whether an address is one of the host's own, which are not led to unless that was asked for.
//
// It ends when its life descriptor becomes readable. It reads what anybody sends, so it holds
// no right and no file, and starts no program. It knows no container and no address of the
// namespace. Row 4; a door of room rootless for the program alone, the only one that links it.
package uplink

import (
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"berth/rootless/uplink/order"
	"berth/sys/catch"
	"berth/sys/confine"
	"berth/sys/detach"
)

// Exit codes of the program.
const (
	failed = 1
	misuse = 2 // wrong arguments, or descriptors that are none
)

// Bounds of the whole process. Memory is the stack's buffers (see shares), what is being
// copied, and garbage.
const (
	maxTCP      = 4096
	maxUDP      = 1024
	maxPings    = 256
	otherFiles  = 64
	memoryLimit = 768 << 20 // the collector works hard from here, bytes
	maxData     = 3 << 30   // bytes
)

// Main is the program, without its name in args. It returns the exit code.
func Main(args []string) int {
	o, err := order.Parse(args)
	if err != nil {
		return complain(misuse, err)
	}
	switch {
	case o.Help:
		fmt.Print(order.Text)
		return 0
	case o.Version:
		fmt.Println("berth-uplink version", order.Release)
		return 0
	}
	if err := checkFiles(); err != nil {
		return complain(misuse, err)
	}
	u, err := begin(o)
	if err != nil {
		return complain(failed, err)
	}
	lost := make(chan struct{})
	go func() {
		u.link.serve()
		close(lost)
	}()
	over := make(chan struct{})
	go func() {
		await(order.Life)
		close(over)
	}()
	select {
	case <-over:
		return 0
	case <-lost: // the namespace is gone, or the device
		return failed
	}
}

func complain(code int, err error) int {
	fmt.Fprintln(os.Stderr, "berth-uplink:", err)
	return code
}

// checkFiles looks at what was inherited.
func checkFiles() error {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(order.Tun, unix.TUNGETIFF, ifr); err != nil {
		return fmt.Errorf("descriptor %d is no attached file of /dev/net/tun: %w: berth starts this program, see --help", order.Tun, err)
	}
	if f := ifr.Uint16(); f&unix.IFF_TUN == 0 || f&unix.IFF_NO_PI == 0 || f&unix.IFF_VNET_HDR != 0 {
		return fmt.Errorf("the device %s of descriptor %d has flags %#x: it must be IFF_TUN|IFF_NO_PI", ifr.Name(), order.Tun, f)
	}
	if _, err := unix.FcntlInt(order.Life, unix.F_GETFD, 0); err != nil {
		return fmt.Errorf("descriptor %d, which ends this program, is none: %w: see --help", order.Life, err)
	}
	return nil
}

// begin makes all that needs rights, files or the starter, and gives those up, before
// anything is read from the device.
func begin(o order.Order) (*uplink, error) {
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(memoryLimit)
	if err := detach.From(order.Tun, order.Life, order.Network, order.Lock); err != nil {
		return nil, err
	}
	// What ends a session or a service ends no uplink.
	if _, err := catch.Start([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}); err != nil {
		return nil, err
	}
	u, err := newUplink(o)
	if err != nil {
		return nil, err
	}
	if err := giveUp(); err != nil {
		return nil, err
	}
	u.limit(openFiles())
	return u, nil
}

// giveUp takes from the process what it does not need: who it is, rights, files, system calls.
func giveUp() error {
	if err := (confine.Bounds{Files: maxTCP + maxUDP + maxPings + otherFiles, Data: maxData}).Bind(); err != nil {
		return err
	}
	if _, err := confine.Restrict(confine.AllThreads, &confine.Files{AnyTCP: true}); err != nil && err != confine.ErrNoLandlock {
		return err
	}
	if err := confine.Nobody(); err != nil {
		return err
	}
	return confine.Forbid(confine.AllThreads, &confine.Calls{Internet: true})
}

// openFiles is how many may be open at once.
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// await returns when a descriptor becomes readable or hangs up. It does not make it
// non-blocking, as it is the starter's too.
func await(fd int) {
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}
