package main

import (
	"io"
	"net"
	"sync/atomic"
)

// relay hands connections on to the registry and counts what is sent there.
type relay struct {
	net.Listener
	to   string
	sent atomic.Int64 // bytes
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: l, to: to}
	go r.serve()
	return r, nil
}

func (r *relay) serve() {
	for {
		c, err := r.Accept()
		if err != nil {
			return // closed
		}
		go r.connect(c)
	}
}

func (r *relay) connect(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	go func() {
		defer c.Close()
		_, _ = io.Copy(c, to)
	}()
	defer to.Close()
	_, _ = io.Copy(to, io.TeeReader(c, r))
}

// Write counts.
func (r *relay) Write(b []byte) (int, error) {
	r.sent.Add(int64(len(b)))
	return len(b), nil
}
