package logsend

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/base/fault"
)

// GELF over UDP: messages larger than a datagram go in chunks.
const (
	gelfChunk  = 1420 // bytes of a datagram
	gelfHead   = 12   // of a chunk's
	gelfChunks = 128  // at most
)

type gelf struct {
	line  *line
	udp   bool
	pack  func(io.Writer) (io.WriteCloser, error) // nil: not
	host  string
	extra map[string]any
	again int           // how often TCP is tried anew for a message
	delay time.Duration // before each
}

func openGELF(i *Info) (Target, error) {
	network, address, err := GELFAddress(i.Config["gelf-address"])
	if err != nil {
		return nil, err
	}
	g := &gelf{}
	if err := g.options(network, i.Config); err != nil {
		return nil, err
	}
	if g.host, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("gelf: cannot access hostname to set source field")
	}
	tag, err := i.Tag(DefaultTag)
	if err != nil {
		return nil, err
	}
	more, err := i.ExtraAttributes(func(k string) string { return "_" + strings.TrimPrefix(k, "_") })
	if err != nil {
		return nil, err
	}
	g.extra = map[string]any{
		"_container_id": i.ContainerID, "_container_name": i.Name(), "_image_id": i.ContainerImageID, "_image_name": i.ContainerImageName,
		"_command": i.Command(), "_tag": tag, "_created": i.ContainerCreated.Format(time.RFC3339Nano),
	}
	for k, v := range more {
		g.extra[k] = v
	}
	if g.line, err = newLine(dialTo(network, address)); err != nil {
		return nil, fmt.Errorf("gelf: cannot connect to GELF endpoint: %s %w", i.Config["gelf-address"], err)
	}
	return g, nil
}

// options reads and checks the options that depend on the way, in docker's words.
func (g *gelf) options(network string, o map[string]string) (err error) {
	g.udp, g.again, g.delay = network == "udp", 3, time.Second
	for _, c := range []struct {
		key   string
		apply func(int)
	}{
		{"gelf-tcp-max-reconnect", func(n int) { g.again = n }},
		{"gelf-tcp-reconnect-delay", func(n int) { g.delay = time.Duration(n) * time.Second }},
	} {
		v, ok := o[c.key]
		if !ok {
			continue
		}
		if g.udp {
			return fault.New(fault.Invalid, "%q is only valid for TCP", c.key)
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return fault.New(fault.Invalid, "%q must be a positive integer", c.key)
		}
		c.apply(n)
	}
	_, kind := o["gelf-compression-type"]
	if _, level := o["gelf-compression-level"]; !g.udp && (kind || level) {
		return fault.New(fault.Invalid, "compression is only supported on UDP")
	}
	if g.udp {
		g.pack, err = gelfPacker(o["gelf-compression-type"], o["gelf-compression-level"])
	}
	return err
}

// GELFAddress reads the option gelf-address.
func GELFAddress(s string) (network, address string, err error) {
	if s == "" {
		return "", "", fault.New(fault.Invalid, "gelf-address is a required parameter")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || !strings.Contains(s, "://") {
		return "", "", fault.New(fault.Invalid, "gelf-address should be in form proto://address, got %v", s)
	}
	if u.Scheme != "udp" && u.Scheme != "tcp" {
		return "", "", fault.New(fault.Invalid, "gelf: endpoint needs to be TCP or UDP")
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return "", "", fault.New(fault.Invalid, "gelf: please provide gelf-address as proto://host:port")
	}
	return u.Scheme, u.Host, nil
}

func gelfPacker(kind, level string) (func(io.Writer) (io.WriteCloser, error), error) {
	n := gzip.BestSpeed
	if level != "" {
		var err error
		if n, err = strconv.Atoi(level); err != nil || n < -1 || n > 9 {
			return nil, fault.New(fault.Invalid, "unknown value %q for log opt %q for gelf log driver", level, "gelf-compression-level")
		}
	}
	switch kind {
	case "", "gzip":
		return func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, n) }, nil
	case "zlib":
		return func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriterLevel(w, n) }, nil
	case "none":
		return nil, nil
	}
	return nil, fault.New(fault.Invalid, "unknown value %q for log opt %q for gelf log driver", kind, "gelf-compression-type")
}

func (g *gelf) Send(m *Message) error {
	level := severityInfo
	if m.Stream == "stderr" {
		level = severityError
	}
	doc := map[string]any{
		"version": "1.1", "host": g.host, "short_message": string(m.Line), "level": level,
		"timestamp": json.Number(fmt.Sprintf("%d.%03d", m.Time.Unix(), m.Time.Nanosecond()/1e6)),
	}
	for k, v := range g.extra {
		doc[k] = v
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if !g.udp {
		return g.stream(append(b, 0))
	}
	if g.pack != nil {
		var packed bytes.Buffer
		w, err := g.pack(&packed)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		b = packed.Bytes()
	}
	return g.datagrams(b)
}

// stream sends a message by TCP. Like docker's, the container waits while that is
// tried again.
func (g *gelf) stream(b []byte) error {
	for try := 0; ; try++ {
		err := g.line.once(func(c net.Conn) error {
			_, err := c.Write(b)
			return err
		})
		if err == nil || try >= g.again {
			return err
		}
		time.Sleep(g.delay)
	}
}

// datagrams sends a message in one datagram, or in chunks.
func (g *gelf) datagrams(b []byte) error {
	if len(b) <= gelfChunk {
		return g.line.write(b)
	}
	const room = gelfChunk - gelfHead
	count := (len(b) + room - 1) / room
	if count > gelfChunks {
		return fmt.Errorf("gelf: a message of %d bytes, more than %d chunks", len(b), gelfChunks)
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	for n := range count {
		chunk := append([]byte{0x1e, 0x0f}, id[:]...)
		chunk = append(chunk, byte(n), byte(count))
		chunk = append(chunk, b[n*room:min(len(b), (n+1)*room)]...)
		if err := g.line.write(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (g *gelf) Close() error { return g.line.Close() }
