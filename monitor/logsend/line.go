package logsend

import (
	"errors"
	"net"
	"time"
)

// line is a connection that is made again when it breaks.
type line struct {
	dial  func() (net.Conn, error)
	conn  net.Conn
	tried time.Time // when it was last dialled in vain
}

const (
	// dialTime and sendTime bound one connect and one write.
	dialTime = 10 * time.Second
	sendTime = 30 * time.Second
	// redial is how long nothing is tried after a connect that failed.
	redial = time.Second
)

var errUnreachable = errors.New("the target was not reachable a moment ago")

func newLine(dial func() (net.Conn, error)) (*line, error) {
	l := &line{dial: dial}
	return l, l.connect()
}

func (l *line) connect() error {
	if l.conn != nil {
		return nil
	}
	if !l.tried.IsZero() && time.Since(l.tried) < redial {
		return errUnreachable
	}
	c, err := l.dial()
	if err != nil {
		l.tried = time.Now()
		return err
	}
	l.conn, l.tried = c, time.Time{}
	return nil
}

// do speaks on the connection, and once more on a new one if it was broken.
func (l *line) do(speak func(net.Conn) error) (err error) {
	for range 2 {
		if err = l.connect(); err != nil {
			return err
		}
		if err = l.use(speak); err == nil {
			return nil
		}
	}
	return err
}

// once speaks on the connection, or on a new one without a pause: who calls it
// waits.
func (l *line) once(speak func(net.Conn) error) error {
	l.tried = time.Time{}
	if err := l.connect(); err != nil {
		return err
	}
	return l.use(speak)
}

// use speaks on the connection that there is; one that breaks is closed.
func (l *line) use(speak func(net.Conn) error) (err error) {
	if err = l.conn.SetDeadline(time.Now().Add(sendTime)); err == nil {
		err = speak(l.conn)
	}
	if err != nil {
		l.Close()
	}
	return err
}

func (l *line) write(b []byte) error {
	return l.do(func(c net.Conn) error {
		_, err := c.Write(b)
		return err
	})
}

func (l *line) Close() error {
	if l.conn == nil {
		return nil
	}
	err := l.conn.Close()
	l.conn = nil
	return err
}

func dialTo(network, address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout(network, address, dialTime) }
}
