// Command asker asks 127.0.0.11 for the address of a name, again and again, and
// prints the median time of an answer in nanoseconds. test/bench/containers runs
// it in a container. Outside the rows.
//
//	asker NAME COUNT
package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "asker: NAME COUNT")
		os.Exit(2)
	}
	if err := ask(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "asker:", err)
		os.Exit(1)
	}
}

func ask(name, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no count", count)
	}
	to, err := net.DialTimeout("udp", "127.0.0.11:53", time.Second)
	if err != nil {
		return err
	}
	defer to.Close()
	times := make([]time.Duration, n)
	for i := range times {
		begin := time.Now()
		if err := once(to, name, uint16(i)); err != nil {
			return err
		}
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	fmt.Println(times[n/2].Nanoseconds())
	return nil
}

// once is one question, whose answer must have an address.
func once(to net.Conn, name string, id uint16) error {
	q, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: q, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		return err
	}
	if err := to.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := to.Write(b); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	k, err := to.Read(buf)
	if err != nil {
		return err
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(buf[:k]); err != nil {
		return err
	}
	if answer.ID != id || len(answer.Answers) == 0 {
		return fmt.Errorf("%s: %v, no address", name, answer.RCode)
	}
	return nil
}
