package logsend

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/monitor/logfile"
)

// resetGELF is a GELF target by TCP whose connection was reset, and its address, at
// which nobody is.
func resetGELF(t *testing.T, options ...string) (Target, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	g := open(t, "gelf", info(append(options, "gelf-address", "tcp://"+at)...))
	c, err := l.Accept()
	must(t, err)
	l.Close()
	must(t, c.(*net.TCPConn).SetLinger(0)) // an RST: the next write fails
	c.Close()
	return g, at
}

// A message by TCP is tried again as often, and after as long, as docker's options say.
func TestGELFAgain(t *testing.T) {
	g, at := resetGELF(t, "gelf-tcp-max-reconnect", "20", "gelf-tcp-reconnect-delay", "1")
	sent := make(chan error)
	go func() { sent <- g.Send(first) }()
	time.Sleep(100 * time.Millisecond)
	l, err := net.Listen("tcp", at)
	must(t, err)
	listener(t, l)
	if got := readUntil(t, accept(t, l), 0); !strings.Contains(got, `"short_message":"hello"`) {
		t.Errorf("%q", got)
	}
	must(t, <-sent)

	for _, c := range []struct {
		again string
		least time.Duration
		most  time.Duration
	}{{"0", 0, 900 * time.Millisecond}, {"2", 2 * time.Second, time.Minute}} {
		g, _ := resetGELF(t, "gelf-tcp-max-reconnect", c.again, "gelf-tcp-reconnect-delay", "1")
		begin := time.Now()
		if err := g.Send(first); err == nil {
			t.Errorf("%s: sent to nobody", c.again)
		}
		if took := time.Since(begin); took < c.least || took > c.most {
			t.Errorf("%s: %s", c.again, took)
		}
	}
}

// A message is tried as often as fluentd-max-retries says.
func TestFluentdMaxRetries(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	var came atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			c.Close() // without an acknowledgement
		}
	}()
	for _, tries := range []int{1, 4} {
		came.Store(0)
		f := open(t, "fluentd", info("fluentd-address", l.Addr().String(), "fluentd-request-ack", "true", "fluentd-max-retries", strconv.Itoa(tries), "fluentd-retry-wait", "1ms"))
		if err := f.Send(first); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("fluent#write: failed to reconnect, max retry: %d", tries)) {
			t.Error(err)
		}
		if n := came.Load(); int(n) != tries {
			t.Errorf("%d tries, %d wanted", n, tries)
		}
	}
}

// Between tries it waits fluentd-retry-wait, and longer each time.
func TestFluentdRetryWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fluentd")
	f := open(t, "fluentd", info("fluentd-address", "unix://"+path, "fluentd-async", "true", "fluentd-max-retries", "5", "fluentd-retry-wait", "100ms"))
	begin := time.Now()
	if err := f.Send(first); err == nil {
		t.Error("sent to nobody")
	}
	if took := time.Since(begin); took < 400*time.Millisecond { // 0, 1, 1 and 2 times
		t.Error(took)
	}
	one := &fluentd{wait: time.Second}
	for try, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: time.Second, 3: 2 * time.Second, 4: 3 * time.Second, 5: 5 * time.Second, 20: time.Minute, 1e6: time.Minute} {
		if got := one.pause(try); got != want {
			t.Errorf("after try %d: %s, %s wanted", try, got, want)
		}
	}
}

// fluentd-buffer-limit is how many messages are kept; what comes then is told and lost.
func TestFluentdBufferLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fluentd")
	options := []string{"fluentd-address", "unix://" + path, "fluentd-async", "true", "fluentd-retry-wait", "10ms", "fluentd-buffer-limit", "2"}
	f := open(t, "fluentd", info(options...))
	r, w := io.Pipe()
	done, told := make(chan error), make(chan string, 10)
	go func() { done <- Run(r, f, info(options...).Config, func(err error) { told <- err.Error() }) }()
	_, err := w.Write(framed(t, func(s *logfile.Stream) { s.Write([]byte("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")) }))
	must(t, err)
	if got := <-told; !strings.Contains(got, "Buffer full, limit 2") {
		t.Errorf("told %q", got)
	}
	w.Close() // all of it was read
	l, err := net.Listen("unix", path)
	must(t, err)
	listener(t, l)
	c := accept(t, l)
	must(t, <-done)
	f.Close()
	all, err := io.ReadAll(c)
	must(t, err)
	var kept []string
	for rest := bytes.NewReader(all); rest.Len() > 0; {
		record, _ := unpackMessage(t, rest)[2].(map[string]any)
		kept = append(kept, fmt.Sprint(record["log"]))
	}
	// The first may be under way already when a later one comes, which then has its place.
	if n := len(kept); n < 2 || n > 3 || kept[0] != "0" || kept[1] != "1" || n == 3 && kept[2] <= "1" {
		t.Errorf("kept %q", kept)
	}
}
