package logsend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
)

// journalSocket is where journald takes messages: one datagram each, see the
// Journal Native Protocol.
var journalSocket = "/run/systemd/journal/socket"

type journald struct {
	line   *line
	fields []byte // those of each message
}

func openJournald(i *Info) (Target, error) {
	if _, err := os.Stat(journalSocket); err != nil {
		return nil, errors.New("journald is not enabled on this host")
	}
	tag, err := i.Tag(DefaultTag)
	if err != nil {
		return nil, err
	}
	extra, err := i.ExtraAttributes(journalKey)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{
		"CONTAINER_ID": i.ID(), "CONTAINER_ID_FULL": i.ContainerID, "CONTAINER_NAME": i.Name(), "CONTAINER_TAG": tag,
		"IMAGE_NAME": i.ImageName(), "SYSLOG_IDENTIFIER": tag,
	} {
		extra[k] = v
	}
	j := &journald{}
	for k, v := range extra {
		if k != "" {
			j.fields = appendJournal(j.fields, k, []byte(v))
		}
	}
	j.line, err = newLine(dialTo("unixgram", journalSocket))
	return j, err
}

// journalKey makes a key that journald takes: capitals, digits, underscores,
// no underscore in front.
func journalKey(k string) string {
	k = strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(k))
	return strings.TrimLeft(k, "_")
}

// appendJournal appends a field: as a line, or with its length if it has several.
func appendJournal(b []byte, key string, value []byte) []byte {
	b = append(b, key...)
	if bytes.IndexByte(value, '\n') < 0 {
		b = append(append(b, '='), value...)
		return append(b, '\n')
	}
	b = binary.LittleEndian.AppendUint64(append(b, '\n'), uint64(len(value)))
	return append(append(b, value...), '\n')
}

func (j *journald) Send(m *Message) error {
	priority := "6"
	if m.Stream == "stderr" {
		priority = "3"
	}
	b := appendJournal(nil, "MESSAGE", m.Line)
	b = appendJournal(b, "PRIORITY", []byte(priority))
	if m.Piece && !m.Last {
		b = appendJournal(b, "CONTAINER_PARTIAL_MESSAGE", []byte("true"))
	}
	return j.line.do(func(c net.Conn) error {
		_, err := c.Write(append(b, j.fields...))
		return err
	})
}

func (j *journald) Close() error { return j.line.Close() }
