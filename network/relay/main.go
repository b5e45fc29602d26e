package relay

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/sys/catch"
	"berth/sys/confine"
	"berth/sys/detach"
	"berth/sys/fdpass"
	"berth/sys/oom"
)

// Bounds of the whole process. Each connection and each flow has two descriptors at
// most; memory is what they have under way.
const (
	maxConns = 1000 // connections at once; more wait at their door
	maxFlows = 1000 // senders of datagrams; one more takes the place of the most silent
	maxFiles = 2*maxConns + maxFlows + MaxDoors + 64
	maxData  = 256 << 20
)

// Main is the life of a relay that the engine started with its end of a socket, by which
// its Order comes, and which hangs up when it is to end. It returns the exit code.
func Main(sock int) int {
	s, err := begin(sock)
	if err != nil {
		return 1
	}
	s.run()
	return 0
}

// server is the whole of a relay.
type server struct {
	life  *os.File // hangs up
	ways  ways
	doors []*door
	slots chan struct{} // connections

	mu    sync.Mutex
	flows map[peer]*flow
}

// door is one of an order, with its socket.
type door struct {
	*os.File
	fd   int
	port uint16 // the container's
	udp  bool
	v4   bool      // it is of IPv4 alone
	room sync.Pool // of buffers for datagrams
}

func begin(sock int) (*server, error) {
	if err := detach.From(sock); err != nil {
		return nil, err
	}
	text, fds, err := fdpass.ReceiveAny(sock)
	if err != nil {
		return nil, err
	}
	o := &Order{}
	if !codec.Whole(text, o.wire) || len(o.Doors) != len(fds) {
		return nil, errors.New("an order that is none")
	}
	// What ends a session or a service ends no relay.
	if _, err := catch.Start([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}); err != nil {
		return nil, err
	}
	if err := giveUp(o); err != nil {
		return nil, err
	}
	s := &server{ways: ways{to: o.To, to4: o.To4, keep: o.Keep, own: o.Own}, slots: make(chan struct{}, maxConns), flows: map[peer]*flow{}}
	if s.life, err = polled(sock); err != nil {
		return nil, err
	}
	for i, d := range o.Doors {
		one, err := open(fds[i], d)
		if err != nil {
			return nil, err
		}
		s.doors = append(s.doors, one)
	}
	return s, nil
}

// open readies a door's socket.
func open(fd int, d Door) (*door, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	f, err := polled(fd)
	if err != nil {
		return nil, err
	}
	return &door{File: f, fd: fd, port: d.Port, udp: d.Datagrams, v4: domain == unix.AF_INET}, nil
}

// polled is a descriptor that is waited for by the runtime's poller.
func polled(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "relay"), nil
}

// giveUp takes from the process what it does not need, before it reads anything that
// others have sent: ids, rights but the one of Order.Keep, files, ports but the
// container's, system calls.
func giveUp(o *Order) error {
	oom.TryAdjust(o.OOMScoreAdj)
	if err := (confine.Bounds{Files: maxFiles, Data: maxData}).Bind(); err != nil {
		return err
	}
	files := confine.Files{AnyBind: o.Keep}
	caps := uint32(0)
	if o.Keep {
		caps = 1 << unix.CAP_NET_RAW
	}
	for _, d := range o.Doors {
		if !d.Datagrams {
			files.Connect = append(files.Connect, d.Port)
		}
	}
	if _, err := confine.Restrict(confine.AllThreads, &files); err != nil && err != confine.ErrNoLandlock {
		return err
	}
	if err := confine.NobodyWith(caps); err != nil {
		return err
	}
	return confine.Forbid(confine.AllThreads, &confine.Calls{Sockets: true})
}

// run serves until the socket hangs up.
func (s *server) run() {
	for _, d := range s.doors {
		if d.udp {
			go s.serveUDP(d)
		} else {
			go s.serveTCP(d)
		}
	}
	var b [1]byte
	for {
		if _, err := s.life.Read(b[:]); err != nil {
			break
		}
	}
	// Who waits for our end may give the ports to another.
	for _, d := range s.doors {
		unix.Close(d.fd)
	}
}
