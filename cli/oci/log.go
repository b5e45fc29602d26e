package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// logger writes lines as logrus does, which containerd, conmon and podman read:
//
//	time="2026-01-02T15:04:05Z" level=error msg="what failed"        text
//	ERRO[0000] what failed                                            text, on a terminal
//	{"level":"error","msg":"what failed","time":"2026-01-02T15:04:05Z"}   json
type logger struct {
	stderr io.Writer
	file   *os.File // nil: standard error
	json   bool
	debug  bool
	now    func() time.Time
	start  time.Time
}

func newLogger(stderr io.Writer) *logger {
	l := &logger{stderr: stderr, now: time.Now, start: time.Now()}
	return l
}

func (l *logger) configure(g *globals) error {
	l.debug = g.debug
	switch g.logFormat {
	case "", "text":
	case "json":
		l.json = true
	default:
		return fault.New(fault.Invalid, "invalid log-format: %q: there is text and json", g.logFormat)
	}
	if g.log == "" {
		return nil
	}
	f, err := os.OpenFile(g.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	l.file = f
	return nil
}

func (l *logger) close() {
	if l.file != nil {
		l.file.Close()
	}
}

// fatal logs err and passes the exit code on. With a log file, standard error
// gets the bare line too: that is what people and podman see.
func (l *logger) fatal(err error, code int) int {
	msg := bounded(err.Error())
	l.write("error", msg)
	if l.file != nil {
		fmt.Fprintln(l.stderr, plain(msg))
	}
	return code
}

func (l *logger) warnf(format string, args ...any) {
	l.write("warning", bounded(fmt.Sprintf(format, args...)))
}

func (l *logger) debugf(format string, args ...any) {
	if l.debug {
		l.write("debug", fmt.Sprintf(format, args...))
	}
}

// write writes one line with one write(2), so that lines of many processes do
// not mix.
func (l *logger) write(level, msg string) {
	var line string
	switch {
	case l.json:
		b, _ := json.Marshal(struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, msg, l.now().Format(time.RFC3339)})
		line = string(b)
	case l.file == nil && isTerminal(l.stderr):
		line = fmt.Sprintf("%s[%04d] %s", strings.ToUpper(level[:4]), int(l.now().Sub(l.start)/time.Second), plain(msg))
	default:
		line = fmt.Sprintf("time=%q level=%s msg=%s", l.now().Format(time.RFC3339), level, quoted(msg))
	}
	if l.file != nil {
		io.WriteString(l.file, line+"\n")
		return
	}
	io.WriteString(l.stderr, line+"\n")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Foreign text in a message can have any length: its begin says what was tried,
// its end why it failed.
const (
	boundBegin = 1000
	boundEnd   = 500
)

func bounded(s string) string {
	if len(s) <= boundBegin+boundEnd {
		return s
	}
	return strings.ToValidUTF8(s[:boundBegin], "") + " … " + strings.ToValidUTF8(s[len(s)-boundEnd:], "")
}

// quoted quotes a value of a text line unless every byte is harmless.
func quoted(s string) string {
	if s == "" {
		return `""`
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._/@^+", c) >= 0) {
			return strconv.Quote(s)
		}
	}
	return s
}

// plain makes s one line that cannot steer a terminal: what is not printable
// is written as Go writes it in a string.
func plain(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			q := strconv.Quote(s)
			return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
		}
	}
	return s
}
