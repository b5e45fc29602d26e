package names

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/accept"
)

// Limits of one container.
const (
	maxClients = 16               // connections by TCP at once
	idleTime   = 10 * time.Second // and how long one may say nothing
)

// sandbox is a container that is served.
type sandbox struct {
	container string
	udp, tcp  *os.File
	process   *os.File // pidfd
	conn      *os.File // whose other end the monitor watches

	slots   chan struct{} // questions for others, under way
	clients chan struct{} // connections by TCP

	mu    sync.Mutex
	open  map[*os.File]bool // those connections
	ended bool
}

// newSandbox takes its descriptors over.
func newSandbox(container string, conn *os.File, fds []int) *sandbox {
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		_ = unix.SetNonblock(fd, true) // what the runtime's poller waits for
		files[i] = os.NewFile(uintptr(fd), "sandbox")
	}
	return &sandbox{
		container: container, udp: files[0], tcp: files[1], process: files[2], conn: conn,
		slots: make(chan struct{}, maxOfOne), clients: make(chan struct{}, maxClients), open: map[*os.File]bool{},
	}
}

// close ends the service: the namespace lives no longer than its last socket.
func (s *sandbox) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	for _, f := range []*os.File{s.udp, s.tcp, s.process, s.conn} {
		f.Close()
	}
	for f := range s.open {
		f.Close()
	}
}

// serve serves until the container's first process has ended.
func (r *resolver) serve(s *sandbox) {
	go r.serveUDP(s)
	go r.serveTCP(s)
	waitEnd(s.process)
	r.forget(s)
}

// waitEnd waits for the end of the process of a pidfd, or until that is closed.
func waitEnd(f *os.File) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n != 0 || err != nil && err != unix.EINTR
	})
}

// serveUDP answers what comes by UDP, one after the other, but for what is asked of
// others.
func (r *resolver) serveUDP(s *sandbox) {
	c, err := s.udp.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, maxUDP)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := c.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), b, unix.MSG_TRUNC)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		if err != nil {
			return // it was closed
		}
		if failed != nil || n > len(b) {
			continue // an error of an answer that nobody took, or more than any question
		}
		r.handle(s, append([]byte(nil), b[:n]...), false, func(reply []byte) {
			_ = c.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), reply, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, from) })
		})
	}
}

// handle answers one question: by itself at once, else when others have answered.
func (r *resolver) handle(s *sandbox, raw []byte, tcp bool, send func([]byte)) {
	q, reply := read(raw, tcp)
	if q == nil {
		if reply != nil {
			send(reply)
		}
		return
	}
	v := r.book.view(s.container)
	if v == nil { // it has been taken off its networks
		v = &View{}
	}
	if a, known := r.book.own(v, q); known {
		send(q.reply(a))
		return
	}
	refused := q.reply(answer{code: serverFailure})
	if !v.Outside && guardInternal {
		send(refused)
		return
	}
	if !enter(s.slots) {
		send(refused)
		return
	}
	if !enter(r.upstream.all) {
		<-s.slots
		send(refused)
		return
	}
	ask := func() {
		defer func() { <-r.upstream.all; <-s.slots }()
		send(r.upstream.ask(v, q))
	}
	if tcp { // one connection asks one question after the other
		ask()
		return
	}
	go ask()
}

func enter(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// serveTCP takes connections.
func (r *resolver) serveTCP(s *sandbox) {
	c, err := s.tcp.SyscallConn()
	if err != nil {
		return
	}
	for {
		f, open := accept.Next(c)
		if !open {
			return
		}
		if !s.join(f) {
			f.Close()
			continue
		}
		go r.serveClient(s, f)
	}
}

func (s *sandbox) join(f *os.File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !enter(s.clients) {
		return false
	}
	s.open[f] = true
	return true
}

func (s *sandbox) leave(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, f)
	f.Close()
	<-s.clients
}

// serveClient answers what comes by one connection.
func (r *resolver) serveClient(s *sandbox, f *os.File) {
	defer s.leave(f)
	for {
		if f.SetDeadline(time.Now().Add(idleTime)) != nil {
			return
		}
		raw, err := readTCP(f, maxUDP)
		if err != nil {
			return
		}
		answered := false
		r.handle(s, raw, true, func(reply []byte) {
			if f.SetDeadline(time.Now().Add(idleTime)) == nil {
				answered = writeTCP(f, reply) == nil
			}
		})
		if !answered {
			return
		}
	}
}
