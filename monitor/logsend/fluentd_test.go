package logsend

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/monitor/logfile"
)

func TestFluentd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	listener(t, l)
	f := open(t, "fluentd", info("fluentd-address", l.Addr().String(), "tag", "docker.{{.Name}}", "labels-regex", "^team$"))
	c := accept(t, l)
	must(t, f.Send(first))
	got := unpackMessage(t, c)
	record, _ := got[2].(map[string]any)
	if len(got) != 3 || got[0] != "docker.web" || got[1] != int64(1700000000) || len(record) != 5 || record["log"] != "hello" || record["source"] != "stdout" ||
		record["container_id"] != strings.Repeat("ab", 32) || record["container_name"] != "/web" || record["team"] != "blue" {
		t.Errorf("%v", got)
	}
	long := &Message{Stream: "stdout", Time: time.Now(), Line: bytes.Repeat([]byte("x"), 16<<10), Piece: true, ID: "one", Ordinal: 2}
	must(t, f.Send(long))
	record, _ = unpackMessage(t, c)[2].(map[string]any)
	if record["partial_message"] != "true" || record["partial_id"] != "one" || record["partial_ordinal"] != "2" || record["partial_last"] != "false" ||
		record["log"] != string(long.Line) {
		t.Errorf("%d fields", len(record))
	}
}

// With request-ack a message that is not acknowledged is sent again.
func TestFluentdAck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fluentd")
	l, err := net.Listen("unix", path)
	must(t, err)
	listener(t, l)
	f := open(t, "fluentd", info("fluentd-address", "unix://"+path, "fluentd-request-ack", "true", "fluentd-sub-second-precision", "true", "fluentd-retry-wait", "10ms"))
	sent := make(chan error, 1)
	go func() { sent <- f.Send(first) }()
	c := accept(t, l)
	unpackMessage(t, c)
	c.Close()
	c = accept(t, l)
	got := unpackMessage(t, c)
	option, _ := got[3].(map[string]any)
	chunk, _ := option["chunk"].(string)
	if at, _ := got[1].([2]uint32); at != [2]uint32{1700000000, 123456789} || chunk == "" {
		t.Errorf("%v", got)
	}
	_, err = c.Write(appendString(appendString(appendMap(nil, 1), "ack"), chunk))
	must(t, err)
	must(t, <-sent)
}

// unpackMessage reads one message of MessagePack, as far as fluentd's need.
func unpackMessage(t *testing.T, r io.Reader) []any {
	t.Helper()
	v, ok := unpackValue(t, r).([]any)
	if !ok {
		t.Fatal("no array")
	}
	return v
}

func unpackValue(t *testing.T, r io.Reader) any {
	t.Helper()
	take := func(n int) []byte {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		must(t, err)
		return b
	}
	kind := take(1)[0]
	text := func(n int) any { return string(take(n)) }
	pairs := func(n int) any {
		m := map[string]any{}
		for range n {
			k, _ := unpackValue(t, r).(string)
			m[k] = unpackValue(t, r)
		}
		return m
	}
	switch {
	case kind&0xf0 == 0x90:
		var list []any
		for range kind & 15 {
			list = append(list, unpackValue(t, r))
		}
		return list
	case kind&0xf0 == 0x80:
		return pairs(int(kind & 15))
	case kind&0xe0 == 0xa0:
		return text(int(kind & 31))
	}
	switch kind {
	case 0xd9:
		return text(int(take(1)[0]))
	case 0xda:
		return text(int(binary.BigEndian.Uint16(take(2))))
	case 0xde:
		return pairs(int(binary.BigEndian.Uint16(take(2))))
	case 0xd3:
		return int64(binary.BigEndian.Uint64(take(8)))
	case 0xd7:
		b := take(9)
		return [2]uint32{binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:])}
	}
	t.Fatalf("kind %x", kind)
	return nil
}

// fluentd-async keeps what it cannot send yet: a target that comes later gets
// all of it.
func TestFluentdAsync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fluentd")
	f := open(t, "fluentd", info("fluentd-address", "unix://"+path, "fluentd-async", "true", "fluentd-retry-wait", "10ms"))
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- Run(r, f, map[string]string{"fluentd-async": "true"}, func(error) {}) }()
	_, err := w.Write(framed(t, func(s *logfile.Stream) { s.Write([]byte("one\ntwo\n")) }))
	must(t, err)
	l, err := net.Listen("unix", path)
	must(t, err)
	listener(t, l)
	c := accept(t, l)
	for _, want := range []string{"one", "two"} {
		if record, _ := unpackMessage(t, c)[2].(map[string]any); record["log"] != want {
			t.Errorf("%v", record)
		}
	}
	w.Close()
	must(t, <-done)
}
