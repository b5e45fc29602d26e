package uplink

import (
	"io"
	"net"
	"testing"
	"time"
)

// BenchmarkOut and BenchmarkIn are one connection's bytes in a second, between the user's
// namespace and one beside the host's.
func BenchmarkOut(b *testing.B) {
	s := set(b)
	done := make(chan int64)
	c := s.connect(b, "tcp", listen(b, s.world, worldAt, func(c *net.TCPConn) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 1<<20))
		done <- n
	}))
	must(b, c.SetDeadline(time.Time{}))
	room := make([]byte, 1<<20)
	b.SetBytes(int64(len(room)))
	for b.Loop() {
		if _, err := c.Write(room); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	<-done
}

func BenchmarkIn(b *testing.B) {
	s := set(b)
	c := s.connect(b, "tcp", listen(b, s.world, worldAt, func(c *net.TCPConn) {
		room := make([]byte, 1<<20)
		for {
			if _, err := c.Write(room); err != nil {
				return
			}
		}
	}))
	must(b, c.SetDeadline(time.Time{}))
	room := make([]byte, 1<<20)
	b.SetBytes(int64(len(room)))
	for b.Loop() {
		if _, err := io.ReadFull(c, room); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect is a connection with one byte each way, from its beginning to its end.
func BenchmarkConnect(b *testing.B) {
	s := set(b)
	to := listen(b, s.world, worldAt, func(c *net.TCPConn) { _, _ = io.Copy(c, c); c.Close() })
	for b.Loop() {
		c, err := s.dial("tcp", to)
		must(b, err)
		_, err = c.Write([]byte("x"))
		must(b, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		must(b, err)
		c.Close()
	}
}

// BenchmarkStart is from the program's start to the first connection that was answered.
func BenchmarkStart(b *testing.B) {
	s := set(b)
	to := listen(b, s.world, worldAt, func(c *net.TCPConn) { c.Close() })
	took := 0.0
	for b.Loop() {
		s.stop(b)
		s.start(b, device(b, s.inside))
		c, err := s.dial("tcp", to)
		must(b, err)
		took += time.Since(s.begun).Seconds()
		c.Close()
	}
	b.ReportMetric(took*1000/float64(b.N), "ms/start")
}
