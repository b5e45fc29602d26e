package logsend

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/monitor/logfile"
)

const patience = 30 * time.Second

// info is a container for tests.
func info(options ...string) *Info {
	i := &Info{
		ContainerID: strings.Repeat("ab", 32), ContainerName: "/web", ContainerImageID: "sha256:" + strings.Repeat("cd", 32),
		ContainerImageName: "nginx", ContainerCreated: time.Unix(1000, 0).UTC(), Entrypoint: "nginx", Args: []string{"-g", "x"},
		ContainerEnv: []string{"TIER=front", "OTHER=o"}, ContainerLabels: map[string]string{"com.app": "shop", "team": "blue"},
		DaemonName: "docker", Config: map[string]string{},
	}
	for n := 0; n+1 < len(options); n += 2 {
		i.Config[options[n]] = options[n+1]
	}
	return i
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, driver string, i *Info) Target {
	t.Helper()
	must(t, Check(driver, i.Config))
	target, err := Open(driver, i)
	must(t, err)
	t.Cleanup(func() { target.Close() })
	return target
}

var (
	first  = &Message{Stream: "stdout", Time: time.Unix(1700000000, 123456789), Line: []byte("hello")}
	second = &Message{Stream: "stderr", Time: time.Unix(1700000001, 0), Line: []byte("oh\nno")}
)

// datagrams is a receiver of datagrams.
func datagrams(t *testing.T, network, address string) (net.PacketConn, func() []byte) {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, func() []byte {
		t.Helper()
		b := make([]byte, 64<<10)
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		n, _, err := c.ReadFrom(b)
		must(t, err)
		return b[:n]
	}
}

// listener takes connections one after the other and gives what comes.
func listener(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	return l
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func readUntil(t *testing.T, r io.Reader, end byte) string {
	t.Helper()
	var out []byte
	var b [1]byte
	for {
		_, err := io.ReadFull(r, b[:])
		must(t, err)
		if b[0] == end {
			return string(out)
		}
		out = append(out, b[0])
	}
}

func TestJournald(t *testing.T) {
	dir := t.TempDir()
	old := journalSocket
	journalSocket = filepath.Join(dir, "socket")
	defer func() { journalSocket = old }()
	if _, err := Open("journald", info()); err == nil || err.Error() != "failed to initialize logging driver: journald is not enabled on this host" {
		t.Errorf("without journald: %v", err)
	}
	_, next := datagrams(t, "unixgram", journalSocket)
	j := open(t, "journald", info("labels", "com.app,none", "env-regex", "^TI", "tag", "{{.ImageName}}/{{.Name}}/{{.ID}}"))
	must(t, j.Send(first))
	got := fieldsOf(t, next())
	for k, want := range map[string]string{
		"MESSAGE": "hello", "PRIORITY": "6", "CONTAINER_ID": "abababababab", "CONTAINER_ID_FULL": strings.Repeat("ab", 32),
		"CONTAINER_NAME": "web", "CONTAINER_TAG": "nginx/web/abababababab", "SYSLOG_IDENTIFIER": "nginx/web/abababababab", "IMAGE_NAME": "nginx",
		"COM_APP": "shop", "TIER": "front",
	} {
		if got[k] != want {
			t.Errorf("%s is %q, want %q", k, got[k], want)
		}
	}
	if len(got) != 10 {
		t.Errorf("fields %v", got)
	}
	must(t, j.Send(second))
	if got := fieldsOf(t, next()); got["MESSAGE"] != "oh\nno" || got["PRIORITY"] != "3" {
		t.Errorf("fields %v", got)
	}
	must(t, j.Send(&Message{Stream: "stdout", Line: []byte("x"), Piece: true}))
	if got := fieldsOf(t, next()); got["CONTAINER_PARTIAL_MESSAGE"] != "true" {
		t.Errorf("fields %v", got)
	}
}

// fieldsOf reads a message of the journal's native protocol.
func fieldsOf(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			t.Fatalf("no end in %q", b)
		}
		key, value, ok := strings.Cut(string(b[:end]), "=")
		b = b[end+1:]
		if !ok {
			n := binary.LittleEndian.Uint64(b)
			value, b = string(b[8:8+n]), b[9+n:]
		}
		out[key] = value
	}
	return out
}

func TestSyslogForms(t *testing.T) {
	host, err := os.Hostname()
	must(t, err)
	host = regexp.QuoteMeta(host)
	for form, want := range map[string]string{
		"":             `^<30>\w{3} [ \d]\d \d\d:\d\d:\d\d abababababab\[\d+\]: hello\n$`,
		"rfc3164":      `^<30>\w{3} [ \d]\d \d\d:\d\d:\d\d ` + host + ` abababababab\[\d+\]: hello\n$`,
		"rfc5424":      `^<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+Z][:\d]* ` + host + ` abababababab \d+ abababababab - hello\n$`,
		"rfc5424micro": `^<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[-+Z][:\d]* ` + host + ` abababababab \d+ abababababab - hello\n$`,
	} {
		c, next := datagrams(t, "udp", "127.0.0.1:0")
		s := open(t, "syslog", info("syslog-address", "udp://"+c.LocalAddr().String(), "syslog-format", form))
		must(t, s.Send(first))
		if got := string(next()); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("form %q: %q", form, got)
		}
	}
}

func TestSyslogWays(t *testing.T) {
	dir := t.TempDir()
	_, next := datagrams(t, "unixgram", filepath.Join(dir, "gram"))
	s := open(t, "syslog", info("syslog-address", "unixgram://"+filepath.Join(dir, "gram"), "syslog-facility", "local3", "tag", "mine"))
	must(t, s.Send(second))
	if got := string(next()); !strings.HasPrefix(got, "<155>") || !strings.Contains(got, " mine[") {
		t.Errorf("%q", got)
	}
	unix, err := net.Listen("unix", filepath.Join(dir, "stream"))
	must(t, err)
	listener(t, unix)
	s = open(t, "syslog", info("syslog-address", "unix://"+filepath.Join(dir, "stream")))
	must(t, s.Send(first))
	if got := readUntil(t, accept(t, unix), '\n'); !strings.HasSuffix(got, ": hello") {
		t.Errorf("%q", got)
	}
	// A server that goes away is connected to again.
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	listener(t, tcp)
	s = open(t, "syslog", info("syslog-address", "tcp://"+tcp.Addr().String()))
	must(t, s.Send(first))
	c := accept(t, tcp)
	if got := readUntil(t, c, '\n'); !strings.HasSuffix(got, ": hello") {
		t.Errorf("%q", got)
	}
	must(t, c.(*net.TCPConn).SetLinger(0))
	c.Close()
	got := make(chan string)
	go func() { got <- readUntil(t, accept(t, tcp), '\n') }()
	for end := time.Now().Add(patience); ; {
		_ = s.Send(second) // the first may still go into the broken connection
		select {
		case line := <-got:
			if !strings.HasSuffix(line, ": oh") {
				t.Errorf("%q", line)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("it did not connect again")
		}
	}
}

func TestSyslogTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	must(t, err)
	ca := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(t, err)
	listener(t, l)
	lines := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			if n, err := c.Read(b); err == nil {
				lines <- string(b[:n])
			}
		}
	}()
	address := "tcp+tls://" + l.Addr().String()
	if _, err := Open("syslog", info("syslog-address", address)); err == nil {
		t.Error("a certificate that nobody vouches for is taken")
	}
	s := open(t, "syslog", info("syslog-address", address, "syslog-tls-ca-cert", ca, "syslog-format", "rfc5424"))
	must(t, s.Send(first))
	line := <-lines
	size, rest, _ := strings.Cut(line, " ")
	if size != fmt.Sprint(len(rest)) || !strings.HasSuffix(rest, "- hello\n") {
		t.Errorf("%q", line)
	}
	s = open(t, "syslog", info("syslog-address", address, "syslog-tls-skip-verify", "true"))
	must(t, s.Send(first))
	if line := <-lines; !strings.HasPrefix(line, "<30>") {
		t.Errorf("%q", line)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	l.Close()
	for driver, i := range map[string]*Info{
		"syslog": info("syslog-address", "tcp://"+at), "fluentd": info("fluentd-address", at),
	} {
		_, err := Open(driver, i)
		if want := "failed to initialize logging driver: dial tcp " + at + ": connect: connection refused"; err == nil || err.Error() != want {
			t.Errorf("%s: %v", driver, err)
		}
	}
	if _, err := Open("gelf", info("gelf-address", "tcp://"+at)); err == nil || !strings.Contains(err.Error(), "cannot connect to GELF endpoint") {
		t.Errorf("gelf: %v", err)
	}
	if f, err := Open("fluentd", info("fluentd-address", at, "fluentd-async", "true")); err != nil {
		t.Errorf("fluentd in the background: %v", err)
	} else {
		f.Close()
	}
}

func TestGELF(t *testing.T) {
	for _, kind := range []string{"", "zlib", "none"} {
		c, next := datagrams(t, "udp", "127.0.0.1:0")
		g := open(t, "gelf", info("gelf-address", "udp://"+c.LocalAddr().String(), "gelf-compression-type", kind, "env", "TIER"))
		must(t, g.Send(first))
		checkGELF(t, kind, unpack(t, kind, next()))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	listener(t, l)
	g := open(t, "gelf", info("gelf-address", "tcp://"+l.Addr().String(), "env", "TIER"))
	must(t, g.Send(first))
	checkGELF(t, "tcp", []byte(readUntil(t, accept(t, l), 0)))
}

func unpack(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch kind {
	case "":
		r, err = gzip.NewReader(r)
	case "zlib":
		r, err = zlib.NewReader(r)
	}
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	return out
}

func checkGELF(t *testing.T, kind string, b []byte) {
	t.Helper()
	host, _ := os.Hostname()
	var got map[string]any
	must(t, json.Unmarshal(b, &got))
	for k, want := range map[string]any{
		"version": "1.1", "host": host, "short_message": "hello", "level": 6.0, "timestamp": 1700000000.123, "_container_id": strings.Repeat("ab", 32),
		"_container_name": "web", "_image_name": "nginx", "_image_id": "sha256:" + strings.Repeat("cd", 32), "_command": "nginx -g x",
		"_tag": "abababababab", "_created": "1970-01-01T00:16:40Z", "_TIER": "front",
	} {
		if got[k] != want {
			t.Errorf("%q: %s is %v, want %v", kind, k, got[k], want)
		}
	}
	if len(got) != 13 {
		t.Errorf("%q: %v", kind, got)
	}
}

// A message that is larger than a datagram comes in chunks.
func TestGELFChunks(t *testing.T) {
	c, next := datagrams(t, "udp", "127.0.0.1:0")
	g := open(t, "gelf", info("gelf-address", "udp://"+c.LocalAddr().String(), "gelf-compression-type", "none"))
	long := bytes.Repeat([]byte("long "), 3000)
	must(t, g.Send(&Message{Stream: "stdout", Time: time.Now(), Line: long}))
	parts := map[byte][]byte{}
	id := ""
	for count := 1; len(parts) < count; {
		b := next()
		if len(b) > gelfChunk || b[0] != 0x1e || b[1] != 0x0f || id != "" && id != string(b[2:10]) {
			t.Fatalf("chunk of %d bytes, %x", len(b), b[:12])
		}
		id, count, parts[b[10]] = string(b[2:10]), int(b[11]), b[12:]
	}
	var whole []byte
	for n := range len(parts) {
		whole = append(whole, parts[byte(n)]...)
	}
	var got map[string]any
	must(t, json.Unmarshal(whole, &got))
	if got["short_message"] != string(long) {
		t.Error("the message came otherwise")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ driver, key, value, want string }{
		{"syslog", "syslog-address", "ftp://x", "unsupported scheme: 'ftp'"},
		{"syslog", "syslog-facility", "nobody", "invalid syslog facility"},
		{"syslog", "syslog-format", "rfc1", "Invalid syslog format"},
		{"syslog", "tag", "{{.Nothing}}", "log opt tag"},
		{"syslog", "env-regex", "(", "log opt env-regex"},
		{"gelf", "", "", "gelf-address is a required parameter"},
		{"gelf", "gelf-address", "127.0.0.1:1", "gelf-address should be in form proto://address"},
		{"gelf", "gelf-address", "http://a:1", "gelf: endpoint needs to be TCP or UDP"},
		{"fluentd", "fluentd-address", "http://a", "unsupported scheme"},
		{"fluentd", "fluentd-address", "tcp://a/b", "should not contain a path element"},
		{"fluentd", "fluentd-retry-wait", "soon", "invalid duration"},
		{"fluentd", "fluentd-max-retries", "-1", `strconv.ParseUint: parsing "-1": invalid syntax`},
		{"fluentd", "fluentd-buffer-limit", "x", "invalid size: 'x'"},
		{"fluentd", "fluentd-sub-second-precision", "x", `strconv.ParseBool: parsing "x": invalid syntax`},
		{"journald", "cache-disabled", "maybe", "cache-disabled"},
		{"journald", "cache-max-size", "much", "cache-max-size"},
		{"journald", "cache-max-file", "0", "cache-max-file"},
	} {
		o := map[string]string{c.key: c.value}
		if err := Check(c.driver, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s=%s: %v", c.driver, c.key, c.value, err)
		}
	}
	for _, c := range []struct{ way, key, value, want string }{
		{"tcp", "gelf-tcp-max-reconnect", "-1", `"gelf-tcp-max-reconnect" must be a positive integer`},
		{"tcp", "gelf-tcp-reconnect-delay", "x", `"gelf-tcp-reconnect-delay" must be a positive integer`},
		{"tcp", "gelf-compression-type", "gzip", "compression is only supported on UDP"},
		{"tcp", "gelf-compression-level", "3", "compression is only supported on UDP"},
		{"udp", "gelf-tcp-max-reconnect", "3", `"gelf-tcp-max-reconnect" is only valid for TCP`},
		{"udp", "gelf-tcp-reconnect-delay", "1", `"gelf-tcp-reconnect-delay" is only valid for TCP`},
		{"udp", "gelf-compression-type", "x", `unknown value "x" for log opt "gelf-compression-type" for gelf log driver`},
		{"udp", "gelf-compression-level", "33", `unknown value "33" for log opt "gelf-compression-level" for gelf log driver`},
	} {
		if err := Check("gelf", map[string]string{"gelf-address": c.way + "://h:1", c.key: c.value}); err == nil || err.Error() != c.want {
			t.Errorf("gelf %s %s=%s: %v", c.way, c.key, c.value, err)
		}
	}
	for driver, o := range map[string]map[string]string{
		"syslog": {"syslog-address": "udp://[::1]", "syslog-facility": "16"}, "fluentd": {}, "journald": {"cache-disabled": "true"}, "json-file": {},
		"gelf": {"gelf-address": "udp://h:12201"},
	} {
		if err := Check(driver, o); err != nil {
			t.Errorf("%s: %v", driver, err)
		}
	}
}

// slow is a target that waits.
type slow struct {
	gate chan struct{}
	mu   sync.Mutex
	got  []string
}

func (s *slow) Send(m *Message) error {
	<-s.gate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(m.Line))
	return nil
}
func (s *slow) Close() error { return nil }

// framed is a container's output as the monitor hands it on.
func framed(t *testing.T, write func(*logfile.Stream)) []byte {
	t.Helper()
	var b []byte
	l, err := logfile.Open(logfile.Options{Driver: "local", Tee: func(more []byte) { b = append(b, more...) }}, nil)
	must(t, err)
	s := l.Stream("stdout")
	write(s)
	s.End()
	l.Close()
	return b
}

func TestRun(t *testing.T) {
	in := framed(t, func(s *logfile.Stream) {
		s.Write([]byte("one\n\ntwo\n"))
		s.Write(bytes.Repeat([]byte("x"), logfile.LineMax+10))
		s.Write([]byte("\nrest"))
	})
	s := &slow{gate: make(chan struct{})}
	close(s.gate)
	must(t, Run(bytes.NewReader(in), s, nil, func(err error) { t.Error(err) }))
	if len(s.got) != 5 || s.got[0] != "one" || s.got[1] != "two" || len(s.got[2]) != logfile.LineMax || len(s.got[3]) != 10 || s.got[4] != "rest" {
		t.Errorf("%d: %.100q", len(s.got), s.got)
	}
}

// In mode non-blocking a target that stands still costs its oldest lines and
// holds nobody up.
func TestRunNonBlocking(t *testing.T) {
	r, w := io.Pipe()
	s := &slow{gate: make(chan struct{})}
	done := make(chan error)
	go func() {
		done <- Run(r, s, map[string]string{"mode": "non-blocking", "max-buffer-size": "1k"}, func(err error) { t.Error(err) })
	}()
	for n := range 1000 { // each returns though nothing is sent
		_, err := w.Write(framed(t, func(s *logfile.Stream) { fmt.Fprintf(writer{s}, "line %d %s\n", n, strings.Repeat("x", 50)) }))
		must(t, err)
	}
	w.Close()
	close(s.gate)
	must(t, <-done)
	if n := len(s.got); n < 5 || n > 50 || !strings.HasPrefix(s.got[n-1], "line 999 ") {
		t.Errorf("%d lines, the last %q", n, s.got[n-1])
	}
}

type writer struct{ s *logfile.Stream }

func (w writer) Write(b []byte) (int, error) {
	w.s.Write(b)
	return len(b), nil
}

// broken fails always.
type broken struct{}

func (broken) Send(*Message) error { return errors.New("broken") }
func (broken) Close() error        { return nil }

func TestRunTellsOnce(t *testing.T) {
	in := framed(t, func(s *logfile.Stream) { s.Write([]byte("a\nb\nc\n")) })
	told := 0
	must(t, Run(bytes.NewReader(in), broken{}, nil, func(error) { told++ }))
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
