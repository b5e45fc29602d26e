package logsend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"berth/base/units"
	"berth/monitor/logread"
)

// Run reads frames from in until its end and sends them. In docker's mode
// non-blocking what a slow target cannot take is kept up to max-buffer-size, and
// the oldest is dropped then; with fluentd-async up to so many messages as
// fluentd-buffer-limit says, and the newest is; else the container waits. It tells warn what could
// not be sent, once for each time of trouble.
func Run(in io.Reader, t Target, options map[string]string, warn func(error)) error {
	r := bufio.NewReaderSize(in, 64<<10)
	s := &sender{target: t, warn: warn}
	q, err := bufferOf(options)
	if err != nil {
		return err
	}
	if q == nil {
		return frames(r, s.send)
	}
	done := make(chan struct{})
	var full sync.Once
	go func() {
		defer close(done)
		for m := q.take(); m != nil; m = q.take() {
			s.send(m)
		}
	}()
	err = frames(r, func(m *Message) {
		kept := *m
		kept.Line = append([]byte{}, m.Line...)
		if !q.add(&kept) {
			full.Do(func() {
				s.warn(fmt.Errorf("send a line of the log: fluent#appendBuffer: Buffer full, limit %d", q.limit))
			})
		}
	})
	q.close()
	select {
	case <-done:
	case <-time.After(lastWords):
		s.warn(fmt.Errorf("send the log: the target did not take the rest in %s", lastWords))
	}
	return err
}

// bufferOf is where is kept what the target does not take yet; nil says that
// nothing is, and the container waits.
func bufferOf(o map[string]string) (*ring, error) {
	key, q := "", newRing(1<<20)
	for _, k := range []string{"fluentd-async", "fluentd-async-connect"} {
		if on, err := strconv.ParseBool(o[k]); err == nil && on {
			key, q.counts = "fluentd-buffer-limit", true
		}
	}
	if o["mode"] == "non-blocking" {
		key, q.counts = "max-buffer-size", false
	}
	if key == "" {
		return nil, nil
	}
	var err error
	if v := o[key]; v != "" {
		q.limit, err = units.ParseBytes(v)
	}
	return q, err
}

// lastWords is how long the rest may take when the container has ended.
const lastWords = 10 * time.Second

// frames calls each for every message; it is good until each returns.
func frames(r *bufio.Reader, each func(*Message)) error {
	var e logread.Entry
	for {
		err := logread.NextLocal(r, &e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the output to send: %w", err)
		}
		line := e.Line
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		each(&Message{Stream: e.Stream, Time: e.Time, Line: line, Piece: e.Piece, Last: e.Last, ID: e.ID, Ordinal: e.Ordinal})
	}
}

// sender sends and tells of trouble.
type sender struct {
	target Target
	warn   func(error)
	bad    bool
}

func (s *sender) send(m *Message) {
	if len(m.Line) == 0 && !m.Piece {
		return // docker's drivers leave empty lines out
	}
	err := s.target.Send(m)
	if err != nil && !s.bad {
		s.warn(fmt.Errorf("send a line of the log: %w", err))
	}
	s.bad = err != nil
}

// ring keeps messages up to a number of bytes, of which the oldest go first, or
// up to a number of messages, to which no more are added.
type ring struct {
	counts bool
	mu     sync.Mutex
	more   *sync.Cond
	list   []*Message
	size   int64
	limit  int64
	closed bool
}

func newRing(limit int64) *ring {
	q := &ring{limit: limit}
	q.more = sync.NewCond(&q.mu)
	return q
}

// most bounds what messages that are counted take in memory.
const most = 64 << 20

// add tells whether a message is kept.
func (q *ring) add(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.counts && (int64(len(q.list)) >= q.limit || q.size > most) {
		return false
	}
	q.list, q.size = append(q.list, m), q.size+int64(len(m.Line))
	for !q.counts && q.size > q.limit && len(q.list) > 1 {
		q.size -= int64(len(q.list[0].Line))
		q.list = q.list[1:]
	}
	q.more.Signal()
	return true
}

// take waits for a message; nil after close when there is none left.
func (q *ring) take() *Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.list) == 0 {
		return nil
	}
	m := q.list[0]
	q.list, q.size = q.list[1:], q.size-int64(len(m.Line))
	return m
}

func (q *ring) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}
