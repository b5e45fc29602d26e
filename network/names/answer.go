package names

import (
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// question is what a container asks.
type question struct {
	raw   []byte // the whole message
	head  dnsmessage.Header
	q     dnsmessage.Question
	name  string // folded
	end   int    // of the question in raw
	edns  bool
	limit int // of the answer, in bytes
	tcp   bool
}

// Sizes of messages.
const (
	headSize = 12
	minUDP   = 512
	maxUDP   = 4096 // of what is told to others, and read
	ourUDP   = 1232 // which no link of today cuts into pieces
	maxTCP   = 65535
)

// read reads a query. Of what is none, nothing is to be said: reply is empty then,
// and of one that is not understood it says so.
func read(raw []byte, tcp bool) (q *question, reply []byte) {
	if len(raw) < headSize {
		return nil, nil
	}
	var p dnsmessage.Parser
	head, err := p.Start(raw)
	if err != nil || head.Response {
		return nil, nil
	}
	q = &question{raw: raw, head: head, tcp: tcp, limit: minUDP}
	if tcp {
		q.limit = maxTCP
	}
	if head.OpCode != 0 {
		return nil, q.bare(dnsmessage.RCodeNotImplemented)
	}
	all, err := p.AllQuestions()
	if err != nil || len(all) != 1 || q.additional(&p) != nil {
		return nil, q.bare(dnsmessage.RCodeFormatError)
	}
	q.q = all[0]
	q.name = fold(q.q.Name.String())
	q.end = questionEnd(raw)
	if q.end == 0 {
		return nil, q.bare(dnsmessage.RCodeFormatError)
	}
	return q, nil
}

// additional reads what follows the question: of a query that can only be EDNS.
func (q *question) additional(p *dnsmessage.Parser) error {
	if err := p.SkipAllAnswers(); err != nil {
		return err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			if size := int(h.Class); !q.tcp && size > q.limit {
				q.limit = min(size, maxUDP)
			}
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// questionEnd is where the only question ends, 0 if its name is compressed, which
// nobody does.
func questionEnd(raw []byte) int {
	at := headSize
	for at < len(raw) && raw[at] != 0 {
		if raw[at] > 63 {
			return 0
		}
		at += 1 + int(raw[at])
	}
	if at+5 > len(raw) {
		return 0
	}
	return at + 5
}

// bare is an answer of a header alone: the question was not understood.
func (q *question) bare(code dnsmessage.RCode) []byte {
	b := make([]byte, headSize)
	copy(b, q.raw[:2])
	b[2] = 1<<7 | q.raw[2]&0x79 // QR; opcode and RD as asked
	b[3] = byte(code)
	return b
}

// answer is what one is made of.
type answer struct {
	code      dnsmessage.RCode
	addresses []ip
	names     []string
}

// reply is the message of an answer, cut to what the other side takes.
func (q *question) reply(a answer) []byte {
	b, err := q.build(a, false)
	for err == nil && len(b) > q.limit && len(a.addresses)+len(a.names) > 0 {
		// Each record takes at least 16 bytes, with its name as a reference.
		cut := max(1, (len(b)-q.limit)/28)
		if n := len(a.names); n > 0 {
			a.names = a.names[:max(0, n-cut)]
		} else {
			a.addresses = a.addresses[:max(0, len(a.addresses)-cut)]
		}
		b, err = q.build(a, !q.tcp)
	}
	if err != nil {
		return q.bare(dnsmessage.RCodeServerFailure)
	}
	return b
}

func (q *question) build(a answer, cut bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, minUDP), dnsmessage.Header{
		ID: q.head.ID, Response: true, RecursionDesired: q.head.RecursionDesired, RecursionAvailable: true,
		CheckingDisabled: q.head.CheckingDisabled, Truncated: cut, RCode: a.code,
	})
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q.q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	h := dnsmessage.ResourceHeader{Name: q.q.Name, Class: dnsmessage.ClassINET, TTL: TTL}
	for _, ip := range a.addresses {
		var err error
		if ip.is4() {
			err = b.AResource(h, dnsmessage.AResource{A: [4]byte([]byte(ip))})
		} else {
			err = b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: [16]byte([]byte(ip))})
		}
		if err != nil {
			return nil, err
		}
	}
	for _, n := range a.names {
		name, err := dnsmessage.NewName(n + ".")
		if err != nil {
			return nil, err
		}
		if err := b.PTRResource(h, dnsmessage.PTRResource{PTR: name}); err != nil {
			return nil, err
		}
	}
	if q.edns {
		if err := b.StartAdditionals(); err != nil {
			return nil, err
		}
		var opt dnsmessage.ResourceHeader
		if err := opt.SetEDNS0(ourUDP, a.code, false); err != nil {
			return nil, err
		}
		if err := b.OPTResource(opt, dnsmessage.OPTResource{}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// own is the answer of the networks that the asker is on; known is false for a
// question that is for others.
func (b *book) own(v *View, q *question) (a answer, known bool) {
	if q.q.Class != dnsmessage.ClassINET && q.q.Class != dnsmessage.ClassANY {
		return a, false
	}
	if q.q.Type == dnsmessage.TypePTR {
		if ip, ok := reversed(q.name); ok {
			return b.back(v, ip)
		}
	}
	found, known := b.find(v, q.name)
	if !known {
		short := v.Dotted && !strings.ContainsRune(q.name, '.')
		return a, short && (q.q.Type == dnsmessage.TypeA || q.q.Type == dnsmessage.TypeAAAA)
	}
	for _, k := range found {
		for _, ip := range k.ips {
			if t := q.q.Type; t == dnsmessage.TypeALL || t == dnsmessage.TypeA && ip.is4() || t == dnsmessage.TypeAAAA && !ip.is4() {
				a.addresses = append(a.addresses, ip)
			}
		}
	}
	rand.Shuffle(len(a.addresses), func(i, j int) { a.addresses[i], a.addresses[j] = a.addresses[j], a.addresses[i] })
	return a, true
}

// find looks a name up: links first, then the networks in their order, then NAME of
// NAME.NETWORK.
func (b *book) find(v *View, name string) ([]*known, bool) {
	if name == "" {
		return nil, false
	}
	for i := range v.Networks {
		if list := b.named(&v.Networks[i], name); list != nil {
			return list, true
		}
	}
	for i := range v.Networks {
		n := &v.Networks[i]
		if short, ok := strings.CutSuffix(name, "."+fold(n.Name)); ok {
			if list := b.named(n, short); list != nil {
				return list, true
			}
		}
	}
	return nil, false
}

// named are those on a network whom this asker knows by a name; nil without.
func (b *book) named(at *ViewNetwork, name string) []*known {
	n := b.on(at.ID)
	if n == nil {
		return nil
	}
	for _, l := range at.Links {
		if fold(l.Alias) != name {
			continue
		}
		if k := n.byID[l.Target]; k != nil {
			return []*known{k}
		}
		if list := n.byName[fold(l.Target)]; list != nil {
			return list
		}
	}
	return n.byName[name]
}

// back is who has an address. Who asks about one of its networks' is told that
// nobody has it, as servers elsewhere know nothing of them.
func (b *book) back(v *View, a ip) (answer, bool) {
	for i := range v.Networks {
		n := b.on(v.Networks[i].ID)
		if n == nil {
			continue
		}
		if k := n.byAddr[a]; k != nil && len(k.Names) > 0 {
			return answer{names: []string{k.Names[0] + "." + fold(v.Networks[i].Name)}}, true
		}
	}
	for i := range v.Networks {
		for _, s := range v.Networks[i].Subnets {
			if within(a, s) {
				return answer{code: dnsmessage.RCodeNameError}, true
			}
		}
	}
	return answer{}, false
}

// reversed reads the name of an address in in-addr.arpa or ip6.arpa.
func reversed(name string) (ip, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		p := strings.Split(rest, ".")
		slices.Reverse(p)
		return parse4(strings.Join(p, "."))
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return "", false
	}
	var b [16]byte
	for i := range 32 {
		if i < 31 && rest[2*i+1] != '.' {
			return "", false
		}
		n := strings.IndexByte("0123456789abcdef", rest[2*i])
		if n < 0 {
			return "", false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return ip(b[:]), true
}
