package logsend

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"crypto/rand"

	"berth/base/fault"
	"berth/base/units"
)

// fluentd speaks the forward protocol, version 1, in its mode of one message at
// a time: [tag, time, record] in MessagePack.
type fluentd struct {
	line      *line
	info      *Info
	tag       string
	extra     map[string]string
	subSecond bool
	ack       bool
	wait      time.Duration
	tries     int
	async     bool
}

func openFluentd(i *Info) (Target, error) {
	network, address, err := FluentdAddress(i.Config["fluentd-address"])
	if err != nil {
		return nil, err
	}
	f := &fluentd{info: i}
	if f.tag, err = i.Tag(DefaultTag); err != nil {
		return nil, err
	}
	if f.extra, err = i.ExtraAttributes(nil); err != nil {
		return nil, err
	}
	if err := f.options(i.Config); err != nil {
		return nil, err
	}
	dial := dialTo(network, address)
	if network == "tls" {
		dial = func() (net.Conn, error) {
			return tls.DialWithDialer(&net.Dialer{Timeout: dialTime}, "tcp", address, &tls.Config{MinVersion: tls.VersionTLS12})
		}
	}
	if f.line, err = newLine(dial); err != nil && f.async {
		err = nil // it is tried again with each message
	}
	return f, err
}

func (f *fluentd) options(o map[string]string) error {
	for _, b := range []struct {
		key  string
		into *bool
	}{
		{"fluentd-async", &f.async}, {"fluentd-async-connect", &f.async}, {"fluentd-sub-second-precision", &f.subSecond}, {"fluentd-request-ack", &f.ack},
	} {
		if o[b.key] == "" {
			continue
		}
		v, err := strconv.ParseBool(o[b.key])
		if err != nil {
			return fault.Wrap(fault.Invalid, err)
		}
		*b.into = v
	}
	if o["fluentd-async"] != "" && o["fluentd-async-connect"] != "" {
		return fault.New(fault.Invalid, "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect")
	}
	if s := o["fluentd-buffer-limit"]; s != "" {
		if _, err := units.ParseBytes(s); err != nil {
			return fault.New(fault.Invalid, "invalid size: '%s'", s)
		}
	}
	return f.retries(o)
}

// retries reads how often a message is tried, and how long between.
func (f *fluentd) retries(o map[string]string) error {
	f.wait, f.tries = time.Second, math.MaxInt32
	if !f.async {
		f.tries = maxTries
	}
	if s := o["fluentd-retry-wait"]; s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fault.Wrap(fault.Invalid, err)
		}
		if f.wait = d; d == 0 {
			f.wait = time.Second / 2 // as docker's library has it
		}
	}
	if s := o["fluentd-max-retries"]; s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return fault.Wrap(fault.Invalid, err)
		}
		if f.tries = int(n); n == 0 {
			f.tries = 13 // as docker's library has it
		}
	}
	return nil
}

// pause is how long to wait after a try: longer each time, as docker's library
// does, a minute at most.
func (f *fluentd) pause(try int) time.Duration {
	const longest = time.Minute
	times := math.Floor(math.Pow(1.5, float64(try-1))) // 0 after the first
	return time.Duration(min(times*float64(f.wait), float64(longest)))
}

// FluentdAddress reads the option fluentd-address.
func FluentdAddress(s string) (network, address string, err error) {
	const port = "24224"
	if s == "" {
		return "tcp", "127.0.0.1:" + port, nil
	}
	if !strings.Contains(s, "://") {
		s = "tcp://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", "", fault.New(fault.Invalid, "invalid fluentd-address (%s): %w", s, err)
	}
	switch u.Scheme {
	case "unix":
		if strings.TrimLeft(u.Path, "/") == "" {
			return "", "", fault.New(fault.Invalid, "invalid fluentd-address (%s): path is empty", s)
		}
		return "unix", u.Path, nil
	case "tcp", "tls":
		host, p := u.Hostname(), u.Port()
		if u.Path != "" {
			return "", "", fault.New(fault.Invalid, "invalid fluentd-address (%s): should not contain a path element", s)
		}
		if host == "" {
			host = "127.0.0.1"
		}
		if p == "" {
			p = port
		}
		return u.Scheme, net.JoinHostPort(host, p), nil
	}
	return "", "", fault.New(fault.Invalid, "invalid fluentd-address (%s): unsupported scheme: '%s'", s, u.Scheme)
}

func (f *fluentd) Send(m *Message) error {
	record := map[string]string{
		"container_id": f.info.ContainerID, "container_name": f.info.ContainerName, "source": m.Stream, "log": string(m.Line),
	}
	for k, v := range f.extra {
		record[k] = v
	}
	if m.Piece {
		record["partial_message"], record["partial_id"] = "true", m.ID
		record["partial_ordinal"], record["partial_last"] = strconv.Itoa(m.Ordinal), strconv.FormatBool(m.Last)
	}
	chunk := ""
	if f.ack {
		var id [16]byte
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		chunk = base64.StdEncoding.EncodeToString(id[:])
	}
	b := f.encode(m.Time, record, chunk)
	for try := 0; ; try++ {
		err := f.line.once(func(c net.Conn) error { return f.speak(c, b, chunk) })
		if err == nil {
			return nil
		}
		if try+1 >= f.tries {
			return fmt.Errorf("fluent#write: failed to reconnect, max retry: %d: %w", f.tries, err)
		}
		time.Sleep(f.pause(try))
	}
}

// maxTries bounds the tries for one message that a container waits for, unless
// fluentd-max-retries says how many.
const maxTries = 10

func (f *fluentd) speak(c net.Conn, b []byte, chunk string) error {
	if _, err := c.Write(b); err != nil || chunk == "" {
		return err
	}
	want := appendMap(nil, 1)
	want = appendString(appendString(want, "ack"), chunk)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("fluentd: it acknowledged something else")
	}
	return nil
}

// encode writes a message in MessagePack.
func (f *fluentd) encode(at time.Time, record map[string]string, chunk string) []byte {
	parts := byte(3)
	if chunk != "" {
		parts = 4
	}
	b := appendString([]byte{0x90 | parts}, f.tag)
	if f.subSecond { // EventTime
		b = binary.BigEndian.AppendUint32(append(b, 0xd7, 0), uint32(at.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(at.Unix()))
	}
	b = appendMap(b, len(record))
	for k, v := range record {
		b = appendString(appendString(b, k), v)
	}
	if chunk != "" {
		b = appendString(appendString(appendMap(b, 1), "chunk"), chunk)
	}
	return b
}

func appendMap(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
}

func appendString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n < 1<<8:
		b = append(b, 0xd9, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

func (f *fluentd) Close() error { return f.line.Close() }
