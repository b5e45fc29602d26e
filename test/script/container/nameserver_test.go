package container

import (
	"fmt"
	"net"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/dns/dnsmessage"

	"berth/test/typed"
)

// words are those of package typed, and
//
//	nameserver ADDRESS FILE   a name server until the script's end, in the tests' network: all names
//	                          are at 203.0.113.9; what it is asked, it writes to the file
func words() map[string]func(*testscript.TestScript, bool, []string) {
	all := typed.Words()
	all["nameserver"] = nameserver
	return all
}

func nameserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nameserver ADDRESS FILE")
	}
	c, err := net.ListenPacket("udp", net.JoinHostPort(args[0], "53"))
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[1]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	ts.Defer(func() { c.Close(); f.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, question, ok := reply(b[:n]); ok {
				fmt.Fprintf(f, "%s %s\n", question.Name, question.Type)
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
}

func reply(b []byte) ([]byte, dnsmessage.Question, bool) {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return nil, dnsmessage.Question{}, false
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}}}}
	}
	out, err := m.Pack()
	return out, q, err == nil
}
