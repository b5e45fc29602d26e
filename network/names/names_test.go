package names

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// place is a folder as a resolver reads it.
type place struct {
	t   testing.TB
	dir string
	b   *book
}

func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	fd, err := unix.Open(p.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	p.b = &book{dir: fd, boot: "boot", views: map[string]*page[View]{}, networks: map[string]*page[network]{}}
	return p
}

func (p *place) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) entry(network, id string, addresses, names []string) {
	e := Entry{Boot: "boot", Names: names, Addresses: addresses}
	p.write(On+"/"+network+"/"+id, e.Text())
}

func query(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	n, err := dnsmessage.NewName(name)
	if err != nil {
		t.Fatal(err)
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask is what a container is told: addresses and names, sorted; "other" for what it
// is for others to know.
func (p *place) ask(v *View, name string, kind dnsmessage.Type) []string {
	p.t.Helper()
	q, bare := read(query(p.t, name, kind), false)
	if q == nil {
		p.t.Fatalf("%s: not understood: %x", name, bare)
	}
	a, known := p.b.own(v, q)
	if !known {
		return []string{"other"}
	}
	return said(p.t, q.reply(a))
}

// said is what an answer says.
func said(t testing.TB, b []byte) (out []string) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%v: %x", err, b)
	}
	if !m.Response || !m.RecursionAvailable || m.ID != 7 {
		t.Errorf("header %+v", m.Header)
	}
	for _, r := range m.Answers {
		if r.Header.TTL != TTL {
			t.Errorf("TTL %d", r.Header.TTL)
		}
		switch r := r.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(r.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(r.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, r.PTR.String())
		}
	}
	if m.RCode != dnsmessage.RCodeSuccess {
		out = append(out, m.RCode.String())
	}
	slices.Sort(out)
	return out
}

func TestOwn(t *testing.T) {
	p := newPlace(t)
	p.entry("n1", "aa", []string{"10.1.0.2", "fd00::2"}, []string{"Web", "www", "aa"})
	p.entry("n1", "bb", []string{"10.1.0.3"}, []string{"db", "www", "bb", "db"})
	p.entry("n2", "cc", []string{"10.2.0.2"}, []string{"web", "cc"})
	p.entry("n3", "dd", []string{"10.3.0.2"}, []string{"secret", "dd"})
	p.write(On+"/n1/old", strings.Replace((&Entry{Boot: "boot", Names: []string{"old"}}).Text(), "boot boot", "boot earlier", 1))
	both := &View{Networks: []ViewNetwork{
		{ID: "n1", Name: "One", Subnets: []string{"10.1.0.0/24"},
			Links: []ViewLink{{Alias: "Mine", Target: "DB"}, {Alias: "byid", Target: "aa"}, {Alias: "db", Target: "web"}, {Alias: "none", Target: "none"}}},
		{ID: "n2", Name: "two"}, {ID: "gone", Name: "gone"},
	}}
	second := &View{Networks: []ViewNetwork{{ID: "n2", Name: "two"}}, Dotted: true}
	const a, aaaa, ptr = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR
	for _, c := range []struct {
		v    *View
		name string
		kind dnsmessage.Type
		want string
	}{
		{both, "web.", a, "10.1.0.2"},
		{both, "wEb.", aaaa, "fd00::2"},
		{both, "WWW.", a, "10.1.0.2 10.1.0.3"},
		{both, "www.", aaaa, "fd00::2"},
		{both, "web.two.", a, "10.2.0.2"},
		{both, "web.one.", a, "10.1.0.2"},
		{both, "bb.", aaaa, ""},
		{both, "web.", dnsmessage.TypeMX, ""},
		{both, "mine.", a, "10.1.0.3"},
		{both, "mine.one.", a, "10.1.0.3"},
		{both, "byid.", a, "10.1.0.2"},
		{both, "db.", a, "10.1.0.2"},
		{both, "none.", a, "other"},
		{both, "old.", a, "other"},
		{both, "secret.", a, "other"},
		{both, ".", a, "other"},
		{both, "example.com.", a, "other"},
		{both, "2.0.1.10.in-addr.arpa.", ptr, "web.one."},
		{both, "9.0.1.10.in-addr.arpa.", ptr, "RCodeNameError"},
		{both, "2.0.3.10.in-addr.arpa.", ptr, "other"},
		{both, "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", ptr, "web.one."},
		{second, "web.", a, "10.2.0.2"},
		{second, "www.", a, ""}, // ndots was given: asked of nobody
		{second, "www.", dnsmessage.TypeTXT, "other"},
		{second, "www.example.", a, "other"},
		{&View{}, "web.", a, "other"},
	} {
		if got := strings.Join(p.ask(c.v, c.name, c.kind), " "); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, c.kind, got, c.want)
		}
	}
}

// Files are read again when they, or folders, have changed, however soon after.
func TestChanges(t *testing.T) {
	p := newPlace(t)
	v := &View{Networks: []ViewNetwork{{ID: "n", Name: "n"}}}
	for i := range 200 {
		want := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()
		p.entry("n", "aa", []string{want}, []string{"web"})
		if got := p.ask(v, "web.", dnsmessage.TypeA); !slices.Equal(got, []string{want}) {
			t.Fatalf("%d: %v, want %s", i, got, want)
		}
		p.write(Views+"/aa", (&View{Boot: "boot", Dotted: i%2 == 0}).Text())
		if got := p.b.view("aa"); got == nil || got.Dotted != (i%2 == 0) {
			t.Fatalf("%d: view %+v", i, got)
		}
	}
	// What has stayed the same for a while is not read again.
	time.Sleep(3 * settled)
	p.ask(v, "web.", dnsmessage.TypeA)
	before := p.b.networks["n"]
	p.ask(v, "web.", dnsmessage.TypeA)
	if p.b.networks["n"] != before {
		t.Error("an old folder is read on each question")
	}
	if err := os.RemoveAll(p.dir + "/" + On + "/n"); err != nil {
		t.Fatal(err)
	}
	if got := p.ask(v, "web.", dnsmessage.TypeA); !slices.Equal(got, []string{"other"}) {
		t.Error("a network that is gone has names:", got)
	}
	p.write(Views+"/aa", (&View{Boot: "earlier"}).Text())
	if p.b.view("aa") != nil {
		t.Error("a file of an earlier boot counts")
	}
}

func TestText(t *testing.T) {
	v := View{Boot: "b", Outside: true, Dotted: true, Servers: []string{"fe80::1%eth0", "10.0.0.1"},
		Networks: []ViewNetwork{
			{ID: "1", Name: "my net", Subnets: []string{"10.0.0.0/8", "fd00::/64"}, Links: []ViewLink{{"a", "b"}}},
			{ID: "2", Name: "two"},
		}}
	if got := ParseView(v.Text()); !reflect.DeepEqual(got, v) {
		t.Errorf("%+v\nwant\n%+v", got, v)
	}
	e := Entry{Boot: "b", Addresses: []string{"10.0.0.2"}, Names: []string{"a", "b c"}}
	if got := ParseEntry(e.Text()); !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, want %+v", got, e)
	}
	e.Names = []string{"a\nboot other"}
	if got := ParseEntry(e.Text()); got.Boot != "b" || len(got.Names) > 0 {
		t.Errorf("a name ended its line: %+v", got)
	}
}

// An answer is never longer than what was asked for.
func TestTruncated(t *testing.T) {
	p := newPlace(t)
	for i := range 200 {
		p.entry("n", string(rune('a'+i%26))+string(rune('a'+i/26)), []string{netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String()}, []string{"all"})
	}
	v := &View{Networks: []ViewNetwork{{ID: "n", Name: "n"}}}
	for _, c := range []struct {
		size  uint16 // of EDNS
		tcp   bool
		limit int
		cut   bool
	}{{0, false, 512, true}, {100, false, 512, true}, {1232, false, 1232, true}, {65535, false, 4096, false}, {0, true, 65535, false}} {
		raw := query(t, "all.", dnsmessage.TypeA)
		if c.size > 0 {
			raw = append(raw, 0, 0, 41, byte(c.size>>8), byte(c.size), 0, 0, 0, 0, 0, 0)
			raw[11] = 1
		}
		q, _ := read(raw, c.tcp)
		a, _ := p.b.own(v, q)
		b := q.reply(a)
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if len(b) > c.limit || m.Truncated != c.cut || (len(m.Answers) == 200) == c.cut || len(m.Answers) < 20 || (len(m.Additionals) == 1) != (c.size > 0) {
			t.Errorf("%+v: %d bytes, %d answers, cut %v, %d additional", c, len(b), len(m.Answers), m.Truncated, len(m.Additionals))
		}
	}
}

func TestNotUnderstood(t *testing.T) {
	good := query(t, "a.", dnsmessage.TypeA)
	with := func(at int, b byte) []byte {
		c := slices.Clone(good)
		c[at] = b
		return c
	}
	for _, c := range []struct {
		name string
		raw  []byte
		code int // -1: nothing is said
	}{
		{"short", good[:11], -1}, {"answer", with(2, 0x80), -1}, {"update", with(2, 5<<3), int(dnsmessage.RCodeNotImplemented)},
		{"no question", with(5, 0), int(dnsmessage.RCodeFormatError)}, {"two questions", with(5, 2), int(dnsmessage.RCodeFormatError)},
		{"cut", good[:len(good)-1], int(dnsmessage.RCodeFormatError)}, {"long label", with(12, 63), int(dnsmessage.RCodeFormatError)},
		{"loop", append(append(slices.Clone(good[:12]), 0xc0, 12), good[15:]...), int(dnsmessage.RCodeFormatError)},
	} {
		q, bare := read(c.raw, false)
		switch {
		case q != nil:
			t.Errorf("%s: understood", c.name)
		case c.code < 0 && bare != nil, c.code >= 0 && (len(bare) != headSize || int(bare[3]) != c.code || bare[2]&0x80 == 0 || bare[1] != 7):
			t.Errorf("%s: %x", c.name, bare)
		}
	}
}

func TestAnswers(t *testing.T) {
	ask := query(t, "Www.example.", dnsmessage.Type(65))
	q, _ := read(ask, false)
	good := slices.Clone(ask)
	good[2] |= 0x80
	for i, c := range []struct {
		change func(b []byte) []byte
		want   bool
	}{
		{func(b []byte) []byte { return b }, true},
		{func(b []byte) []byte { b[13] ^= 0x20; return b }, true},
		{func(b []byte) []byte { b[0]++; return b }, false},
		{func(b []byte) []byte { b[2] &^= 0x80; return b }, false},
		{func(b []byte) []byte { b[13] = 'x'; return b }, false},
		{func(b []byte) []byte { b[q.end-3] = 97; return b }, false}, // type 97, whose byte is a small A
		{func(b []byte) []byte { b[5] = 0; return b }, false},
		{func(b []byte) []byte { return b[:q.end-1] }, false},
	} {
		if got := answers(c.change(slices.Clone(good)), ask, q.end); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// Addresses are read as package netip reads them.
func FuzzIP(f *testing.F) {
	for _, text := range []string{"10.0.0.1", "010.0.0.1", "1.2.3", "256.1.1.1", "::", "::1", "1::", "fe80::1%eth0", "fe80::1%", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::1:2:3:4:5:6:7",
		"1::2::3", ":1", "1:", "::ffff:1.2.3.4", "1.2.3.4%x", "12345::", "+1::", "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4:5", "+1.2.3.4", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, zone, ok := parseIP(text)
		want, err := netip.ParseAddr(text)
		if ok != (err == nil) || ok && (string(a) != string(want.AsSlice()) || zone != want.Zone()) {
			t.Errorf("%q: %x %q %v, want %v %v", text, a, zone, ok, want, err)
		}
		bits := len(text) * 7
		if ok && bits <= 8*len(a) {
			p, _ := want.WithZone("").Prefix(bits)
			for _, other := range []string{"10.0.0.0", "::", "fe80::ffff", "1.2.3.5", string(a)} {
				b, err := netip.ParseAddr(other)
				if x, _, ok := parseIP(other); ok && err == nil && within(x, p.String()) != p.Contains(b) {
					t.Errorf("%s in %s: %v", other, p, within(x, p.String()))
				}
			}
		}
	})
}

// The host's servers are followed as its resolv.conf changes.
func TestConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := &conf{path: path}
	servers := func() string {
		var out []string
		for _, s := range c.servers() {
			a, _ := netip.AddrFromSlice([]byte(s.addr))
			out = append(out, netip.AddrPortFrom(a, Port).String())
		}
		return strings.Join(out, " ")
	}
	for _, step := range []struct{ text, want string }{
		{"nameserver 10.0.0.1\n", "10.0.0.1:53"},
		{"nameserver 10.0.0.2 # two\n#nameserver 10.0.0.3\nnameserver x\nnameserver ::1\nnameserver 10.0.0.4\nnameserver 10.0.0.5\n", "10.0.0.2:53 [::1]:53 10.0.0.4:53"},
		{"options ndots:3\n", "127.0.0.1:53"},
		{"nameserver 127.0.0.53\n", "127.0.0.53:53"},
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := servers(); got != step.want {
			t.Errorf("%q: %s, want %s", step.text, got, step.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := servers(); got != "127.0.0.1:53" {
		t.Error("without the file:", got)
	}
}

// FuzzQuestion is what a container may send: nothing comes of it but an answer that
// is one, no longer than it may be.
func FuzzQuestion(f *testing.F) {
	f.Add(query(f, "web.", dnsmessage.TypeA), false)
	f.Add(query(f, "2.0.1.10.in-addr.arpa.", dnsmessage.TypePTR), true)
	f.Add(append(query(f, "www.", dnsmessage.TypeAAAA), 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0), false)
	p := newPlace(f)
	p.entry("n1", "aa", []string{"10.1.0.2", "fd00::2"}, []string{"web", "www"})
	v := &View{Networks: []ViewNetwork{{ID: "n1", Name: "one", Subnets: []string{"10.1.0.0/24"}}}}
	f.Fuzz(func(t *testing.T, raw []byte, tcp bool) {
		q, bare := read(raw, tcp)
		if q == nil {
			if bare != nil && len(bare) != headSize {
				t.Fatalf("%d bytes", len(bare))
			}
			return
		}
		a, known := p.b.own(v, q)
		if !known {
			a = answer{code: serverFailure}
		}
		b := q.reply(a)
		var parser dnsmessage.Parser
		h, err := parser.Start(b)
		if err != nil || !h.Response || h.ID != q.head.ID || len(b) > q.limit && len(b) > 512 {
			t.Fatalf("%v %+v, %d bytes of %d", err, h, len(b), q.limit)
		}
	})
}

// FuzzAnswer is what a server, or who passes for one, may send.
func FuzzAnswer(f *testing.F) {
	ask := query(f, "www.example.", dnsmessage.TypeA)
	good := slices.Clone(ask)
	good[2] |= 0x80
	f.Add(good)
	f.Add(append(slices.Clone(good), make([]byte, 600)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, _ := read(ask, false)
		if !answers(b, ask, q.end) {
			return
		}
		out := q.back(slices.Clone(b))
		if len(out) > q.limit || out[0] != ask[0] || out[1] != ask[1] || !answers(out, ask, q.end) {
			t.Fatalf("%x", out)
		}
	})
}
