package names

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"berth/sys/catch"
	"berth/sys/confine"
	"berth/sys/detach"
	"berth/sys/fdpass"
	"berth/sys/oom"
)

const serverFailure = dnsmessage.RCodeServerFailure

// patience is how long a resolver waits for its first container.
const patience = 10 * time.Second

// Bounds of the whole process.
const (
	maxFiles = 16 << 10
	maxData  = 256 << 20 // bytes; Go's own limit, in its environment, is far lower
)

// Main is the life of a resolver that the engine started with its end of a socket,
// by which its Order comes. It returns the exit code.
func Main(sock int) int {
	r, err := begin(sock)
	if err != nil {
		return 1
	}
	r.run()
	return 0
}

func begin(sock int) (*resolver, error) {
	if err := detach.From(sock); err != nil {
		return nil, err
	}
	text, fds, err := fdpass.Receive(sock, OrderFDs)
	if err != nil {
		return nil, err
	}
	unix.Close(sock)
	// What ends a session or a service ends no resolver.
	if _, err := catch.Start([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}); err != nil {
		return nil, err
	}
	o := &Order{}
	if !decode(text, o) {
		return nil, errors.New("an order that is none")
	}
	if err := giveUp(o, fds[2]); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &resolver{
		listener: os.NewFile(uintptr(fds[0]), "listener"), lock: fds[1],
		book:     &book{dir: fds[2], boot: o.Boot, views: map[string]*page[View]{}, networks: map[string]*page[network]{}},
		upstream: newUpstream(o.Conf), served: map[string]*sandbox{}, left: make(chan struct{}, 1),
	}, nil
}

// giveUp takes from the process what it does not need, before it reads anything
// that others have sent: ids, rights, files but the host's resolv.conf and what it
// was given, system calls.
func giveUp(o *Order, dir int) error {
	oom.TryAdjust(o.OOMScoreAdj)
	if err := (confine.Bounds{Files: maxFiles, Data: maxData}).Bind(); err != nil {
		return err
	}
	paths := []confine.Path{{Dir: dir, Access: confine.Read}}
	for _, p := range confFolders {
		paths = append(paths, confine.Path{Path: p, Access: confine.Read})
	}
	real, _ := filepath.EvalSymlinks(o.Conf)
	for _, p := range []string{o.Conf, real} {
		if folder := filepath.Dir(p); folder != "." && folder != "/" {
			paths = append(paths, confine.Path{Path: folder, Access: confine.Read})
		}
	}
	if _, err := confine.Restrict(confine.AllThreads, &confine.Files{AnyTCP: true, Paths: paths}); err != nil && err != confine.ErrNoLandlock {
		return err
	}
	if err := confine.Nobody(); err != nil {
		return err
	}
	return confine.Forbid(confine.AllThreads, &confine.Calls{Sockets: true})
}

// confFolders are where /etc/resolv.conf leads to, with those who write it.
var confFolders = []string{"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman", "/run/netconfig", "/mnt/wsl"}

// resolver is the whole of one.
type resolver struct {
	listener *os.File
	lock     int // the file of the lock
	book     *book
	upstream *upstream

	taking sync.Mutex // from accept(2) until it is served; before mu
	mu     sync.Mutex
	served map[string]*sandbox
	left   chan struct{} // somebody has gone
}

// run serves until nobody is left to be served.
func (r *resolver) run() {
	go r.accept()
	wait := time.After(patience)
	for {
		select {
		case <-r.left:
		case <-wait:
		}
		if r.idle() && r.leave() {
			return
		}
		wait = nil
		if r.idle() { // somebody is at it
			wait = time.After(time.Second)
		}
	}
}

func (r *resolver) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.served) == 0
}

// leave makes sure that nobody is about to hand a container over: who does has the
// lock, and finds after it that nobody listens.
func (r *resolver) leave() bool {
	if unix.Flock(r.lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	c, err := r.listener.SyscallConn()
	if err != nil {
		return true
	}
	r.taking.Lock()
	defer r.taking.Unlock()
	waits := false
	_ = c.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(p, 0)
		waits = n > 0
	})
	if !waits && r.idle() {
		return true // the lock goes with the process, after the listener
	}
	_ = unix.Flock(r.lock, unix.LOCK_UN)
	return false
}

// accept takes containers over.
func (r *resolver) accept() {
	c, err := r.listener.SyscallConn()
	if err != nil {
		return
	}
	for {
		fd := -1
		var failed error
		err := c.Read(func(l uintptr) bool {
			r.taking.Lock()
			fd, _, failed = unix.Accept4(int(l), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if failed == unix.EAGAIN || failed == unix.EINTR {
				r.taking.Unlock()
				return false
			}
			return true
		})
		if err != nil {
			return
		}
		if failed == nil {
			r.take(fd)
		}
		r.taking.Unlock()
		if failed != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// take reads what a connection hands over. Who connects sends at once.
func (r *resolver) take(fd int) {
	conn := os.NewFile(uintptr(fd), "connection")
	c, err := conn.SyscallConn()
	if err != nil || conn.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		conn.Close()
		return
	}
	var text []byte
	var fds []int
	var failed error
	err = c.Read(func(fd uintptr) bool {
		text, fds, failed = fdpass.Receive(int(fd), SandboxFDs)
		return !errors.Is(failed, unix.EAGAIN)
	})
	m := &Sandbox{}
	if err != nil || failed != nil || !decode(text, m) {
		for _, fd := range fds {
			unix.Close(fd)
		}
		conn.Close()
		return
	}
	s := newSandbox(m.Container, conn, fds)
	r.mu.Lock()
	before := r.served[m.Container]
	r.served[m.Container] = s
	r.mu.Unlock()
	if before != nil {
		before.close()
	}
	go r.serve(s)
}

// forget ends the service of a container.
func (r *resolver) forget(s *sandbox) {
	s.close()
	r.mu.Lock()
	if r.served[s.container] == s {
		delete(r.served, s.container)
	}
	r.mu.Unlock()
	select {
	case r.left <- struct{}{}:
	default:
	}
}
