package names

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// How long servers are waited for, and how many questions are under way at most,
// for one container and for all.
const (
	tryTime    = 2 * time.Second
	wholeTime  = 9 * time.Second
	rounds     = 2
	maxOfOne   = 64
	maxOfAll   = 512
	avoidFor   = 30 * time.Second
	maxAvoided = 256
)

// upstream asks servers, from the namespace that the resolver is in.
type upstream struct {
	conf conf
	all  chan struct{} // as many as may be under way

	mu      sync.Mutex
	avoided map[server]time.Time // those that did not answer, until when
}

func newUpstream(path string) *upstream {
	return &upstream{conf: conf{path: path}, all: make(chan struct{}, maxOfAll), avoided: map[server]time.Time{}}
}

// ask is the answer of the first server that has one.
func (u *upstream) ask(v *View, q *question) []byte {
	var failed []byte
	until := time.Now().Add(wholeTime)
	for range rounds {
		for _, s := range u.servers(v) {
			if !time.Now().Before(until) {
				break
			}
			b, err := exchange(s, q, minTime(time.Now().Add(tryTime), until))
			if err != nil {
				u.avoid(s)
				continue
			}
			switch code := dnsmessage.RCode(b[3] & 15); code {
			case dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError:
				u.prefer(s)
				return b
			default:
				failed = b
			}
		}
		if failed != nil { // it will say the same again
			return failed
		}
	}
	return q.reply(answer{code: dnsmessage.RCodeServerFailure})
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// servers are whom to ask, in order: those that did not answer of late come last.
func (u *upstream) servers(v *View) []server {
	list := u.conf.servers()
	if len(v.Servers) > 0 {
		list = nil
		for _, text := range v.Servers {
			if a, zone, ok := parseIP(text); ok && len(list) < maxServers && text != Server {
				list = append(list, server{a, zone})
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	out := make([]server, 0, len(list))
	for _, late := range []bool{false, true} {
		for _, s := range list {
			if now.Before(u.avoided[s]) == late {
				out = append(out, s)
			}
		}
	}
	return out
}

func (u *upstream) avoid(s server) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.avoided) >= maxAvoided {
		clear(u.avoided)
	}
	u.avoided[s] = time.Now().Add(avoidFor)
}

func (u *upstream) prefer(s server) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.avoided, s)
}

var (
	errNoAnswer = errors.New("no answer")
	errTooLong  = errors.New("a message that is too long")
)

// exchange asks one server, the same way as it was asked: an answer that was cut
// has the client ask again by TCP. Each question has a socket of its own, so that
// its port is as hard to guess as its id, and the kernel drops what others send.
func exchange(s server, q *question, until time.Time) ([]byte, error) {
	kind := unix.SOCK_DGRAM
	if q.tcp {
		kind = unix.SOCK_STREAM
	}
	f, err := dial(s, kind, until)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var id [2]byte
	if _, err := unix.Getrandom(id[:], 0); err != nil {
		return nil, os.NewSyscallError("getrandom", err)
	}
	ask := append(make([]byte, 0, len(q.raw)+2), q.raw...)
	ask[0], ask[1] = id[0], id[1]
	if q.tcp {
		return exchangeTCP(f, q, ask)
	}
	if _, err := f.Write(ask); err != nil {
		return nil, err
	}
	b := make([]byte, maxUDP+1)
	for {
		n, err := f.Read(b)
		if err == io.EOF { // a message of nothing
			continue
		}
		if err != nil {
			return nil, err
		}
		if n > maxUDP { // it was cut, so what is known of it is that
			return q.cut(), nil
		}
		if answers(b[:n], ask, q.end) {
			return q.back(b[:n]), nil
		}
	}
}

func exchangeTCP(f *os.File, q *question, ask []byte) ([]byte, error) {
	if err := writeTCP(f, ask); err != nil {
		return nil, err
	}
	b, err := readTCP(f, maxTCP)
	if err != nil {
		return nil, err
	}
	if !answers(b, ask, q.end) {
		return nil, errNoAnswer
	}
	return q.back(b), nil
}

// answers tells whether b answers the message ask, whose question ends at end: by
// id, question and kind.
func answers(b, ask []byte, end int) bool {
	if len(b) < end || b[0] != ask[0] || b[1] != ask[1] {
		return false
	}
	const response, opcode = 1 << 7, 0x78
	if b[2]&response == 0 || b[2]&opcode != ask[2]&opcode || b[4] != 0 || b[5] != 1 {
		return false
	}
	for i := headSize; i < end; i++ {
		if b[i] != ask[i] && (i >= end-4 || lower(b[i]) != lower(ask[i])) {
			return false // the last four are type and class
		}
	}
	return true
}

// lower is a letter as a name is compared. Lengths of labels are below the letters.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// back is an answer under the id that the client gave.
func (q *question) back(b []byte) []byte {
	b[0], b[1] = q.raw[0], q.raw[1]
	if q.tcp || len(b) <= q.limit {
		return b
	}
	return q.cut()
}

// cut is an answer that says that there is more.
func (q *question) cut() []byte {
	b, err := q.build(answer{}, true)
	if err != nil {
		return q.bare(dnsmessage.RCodeServerFailure)
	}
	return b
}

// dial makes a socket that is connected, or is about to be.
func dial(s server, kind int, until time.Time) (*os.File, error) {
	family := unix.AF_INET
	if !s.addr.is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	var to unix.Sockaddr
	if s.addr.is4() {
		to = &unix.SockaddrInet4{Port: Port, Addr: [4]byte([]byte(s.addr))}
	} else {
		to = &unix.SockaddrInet6{Port: Port, Addr: [16]byte([]byte(s.addr)), ZoneId: zone(fd, s.zone)}
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	f := os.NewFile(uintptr(fd), "upstream")
	if err := f.SetDeadline(until); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// zone is the number of a device as it stands in an address, by number or name; fd is
// a socket to ask with.
func zone(fd int, text string) uint32 {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(n)
	}
	if r, err := unix.NewIfreq(text); err == nil && unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r) == nil {
		return r.Uint32()
	}
	return 0
}

// writeTCP writes a message with its length before it: RFC 1035, 4.2.2.
func writeTCP(f *os.File, b []byte) error {
	_, err := f.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	return err
}

// readTCP reads one of so many bytes at most.
func readTCP(f *os.File, most int) ([]byte, error) {
	var size [2]byte
	if err := readFull(f, size[:]); err != nil {
		return nil, err
	}
	n := int(size[0])<<8 | int(size[1])
	if n > most {
		return nil, errTooLong
	}
	b := make([]byte, n)
	return b, readFull(f, b)
}

func readFull(f *os.File, b []byte) error {
	for len(b) > 0 {
		n, err := f.Read(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
