// Package serving is servers of tests that see who comes. It belongs to the tests, outside
// the rows.
package serving

import "net"

// Accept has serve do with each connection, until the listener is closed.
func Accept(l net.Listener, serve func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c.(*net.TCPConn))
	}
}

// Datagrams sends back what comes, behind its sender's address, until p is closed.
func Datagrams(p net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := p.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = p.WriteTo(append([]byte(from.String()+" "), b[:n]...), from)
	}
}
