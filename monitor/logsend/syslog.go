package logsend

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/base/fault"
)

// facilities in the order of their numbers, from 0; those in the gap have none.
var facilities = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "", "",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// Severities of RFC 5424.
const (
	severityError = 3
	severityInfo  = 6
)

type syslog struct {
	line     *line
	facility int
	tag      string
	host     string
	form     string
	framed   bool // each message's length stands in front: RFC 5425
}

func openSyslog(i *Info) (Target, error) {
	s := &syslog{form: i.Config["syslog-format"]}
	var err error
	if s.tag, err = i.Tag(DefaultTag); err != nil {
		return nil, err
	}
	if s.facility, err = facilityOf(i.Config["syslog-facility"]); err != nil {
		return nil, err
	}
	if s.host, err = os.Hostname(); err != nil {
		return nil, err
	}
	network, address, err := SyslogAddress(i.Config["syslog-address"])
	if err != nil {
		return nil, err
	}
	dial := dialTo(network, address)
	switch network {
	case "":
		dial = dialLocal
	case "unix", "unixgram":
		if _, err := os.Stat(address); err != nil {
			return nil, err
		}
	case "tcp+tls":
		c, err := tlsConfig(i.Config)
		if err != nil {
			return nil, err
		}
		dial = func() (net.Conn, error) {
			return tls.DialWithDialer(&net.Dialer{Timeout: dialTime}, "tcp", address, c)
		}
		s.framed = strings.HasPrefix(s.form, "rfc5424")
	}
	s.line, err = newLine(dial)
	return s, err
}

func facilityOf(s string) (int, error) {
	if s == "" {
		s = "daemon"
	}
	for n, name := range facilities {
		if s == name {
			return n, nil
		}
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 23 {
		return n, nil
	}
	return 0, fault.New(fault.Invalid, "invalid syslog facility")
}

// SyslogAddress reads the option syslog-address; "" is the local one.
func SyslogAddress(s string) (network, address string, err error) {
	if s == "" {
		return "", "", nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", "", err
	}
	switch u.Scheme {
	case "unix", "unixgram":
		return u.Scheme, u.Path, nil
	case "udp", "tcp", "tcp+tls":
		host := u.Host
		if _, _, err := net.SplitHostPort(host); err != nil {
			if !strings.Contains(err.Error(), "missing port") {
				return "", "", err
			}
			host = net.JoinHostPort(host, "514")
		}
		return u.Scheme, host, nil
	}
	return "", "", fault.New(fault.Invalid, "unsupported scheme: '%s'", u.Scheme)
}

// dialLocal finds this machine's syslog.
func dialLocal() (net.Conn, error) {
	for _, network := range []string{"unixgram", "unix"} {
		for _, path := range []string{"/dev/log", "/var/run/syslog", "/var/run/log"} {
			if c, err := net.DialTimeout(network, path, dialTime); err == nil {
				return c, nil
			}
		}
	}
	return nil, errors.New("Unix syslog delivery error") //lint:ignore ST1005 docker's words
}

// tlsConfig reads the options for TLS.
func tlsConfig(o map[string]string) (*tls.Config, error) {
	_, skip := o["syslog-tls-skip-verify"]
	c := &tls.Config{InsecureSkipVerify: skip, MinVersion: tls.VersionTLS12}
	if path := o["syslog-tls-ca-cert"]; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("could not read CA certificate %q: %w", path, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("failed to append certificates from PEM file: %q", path)
		}
	}
	if cert, key := o["syslog-tls-cert"], o["syslog-tls-key"]; cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("Could not load X509 key pair: %w. Make sure the key is not encrypted", err) //lint:ignore ST1005 docker's words
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (s *syslog) Send(m *Message) error {
	severity := severityInfo
	if m.Stream == "stderr" {
		severity = severityError
	}
	text := s.format(severity, time.Now(), string(m.Line)) + "\n"
	if s.framed {
		text = strconv.Itoa(len(text)) + " " + text
	}
	return s.line.write([]byte(text))
}

// format writes a message in one of docker's four forms.
func (s *syslog) format(severity int, now time.Time, line string) string {
	p, pid := s.facility<<3|severity, os.Getpid()
	switch s.form {
	case "rfc3164":
		return fmt.Sprintf("<%d>%s %s %s[%d]: %s", p, now.Format(time.Stamp), s.host, s.tag, pid, line)
	case "rfc5424":
		return fmt.Sprintf("<%d>1 %s %s %s %d %s - %s", p, now.Format(time.RFC3339), s.host, s.tag, pid, s.tag, line)
	case "rfc5424micro":
		return fmt.Sprintf("<%d>1 %s %s %s %d %s - %s", p, now.Format("2006-01-02T15:04:05.000000Z07:00"), s.host, s.tag, pid, s.tag, line)
	}
	return fmt.Sprintf("<%d>%s %s[%d]: %s", p, now.Format(time.Stamp), s.tag, pid, line)
}

func (s *syslog) Close() error { return s.line.Close() }
