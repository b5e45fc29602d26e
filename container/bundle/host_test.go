package bundle

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container/config"
)

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	d, err := Devices(&config.Config{Devices: config.Devices{
		Add:   []config.Device{{Host: link, Container: "/dev/nothing", Permissions: "r"}, {Host: "/dev/zero"}},
		Rules: []string{"c 10:* rw", "a *:* m"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n := d.Nodes[0]; n.Path != "/dev/nothing" || n.Major != 1 || n.Minor != 3 || n.Type != "c" || *n.FileMode != 0o666 {
		t.Errorf("%+v", n)
	}
	if n := d.Nodes[1]; n.Path != "/dev/zero" || n.Minor != 5 {
		t.Errorf("%+v", n)
	}
	if r := d.Rules; len(r) != 4 || r[0].Access != "r" || *r[0].Minor != 3 || r[1].Access != "rwm" || *r[2].Major != 10 || *r[2].Minor != -1 {
		t.Errorf("%+v", r)
	}
	all, err := Devices(&config.Config{Security: config.Security{Privileged: true}})
	if err != nil || len(all.Nodes) < 5 {
		t.Errorf("%v, %v", all, err)
	}
	for _, n := range all.Nodes {
		if strings.HasPrefix(n.Path, "/dev/pts/") || n.Path == "/dev/console" {
			t.Errorf("%s is a container's own", n.Path)
		}
	}
	for host, want := range map[string]string{
		"/dev/nope":   `error gathering device information while adding custom device "/dev/nope": no such file or directory`,
		"/etc/passwd": `error gathering device information while adding custom device "/etc/passwd": not a device node`,
	} {
		if _, err := Devices(&config.Config{Devices: config.Devices{Add: []config.Device{{Host: host}}}}); err == nil || err.Error() != want {
			t.Errorf("%v", err)
		}
	}
	for _, rule := range []string{"", "c 1:3", "d 1:3 r", "c 1 r", "c x:1 r", "c 1:3 rq", "c -1:3 r", "ac 1:3 r"} {
		if _, err := Devices(&config.Config{Devices: config.Devices{Rules: []string{rule}}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("rule %q: %v", rule, err)
		}
	}
}

func TestIDMapping(t *testing.T) {
	now := kernel()
	if how, can, err := IDMapping("/proc/self", now); how != IDMapNone || !can || err != nil {
		t.Errorf("procfs: %q %v %v", how, can, err)
	}
	if _, _, err := IDMapping("/nope", now); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err == nil && st.Type == unix.TMPFS_MAGIC {
		shm, err := os.MkdirTemp("/dev/shm", "berth-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(shm)
		if how, can, err := IDMapping(shm, Kernel{6, 2}); how != IDMapNone || can || err != nil {
			t.Errorf("tmpfs on 6.2: %q %v %v", how, can, err)
		}
		if how, can, err := IDMapping(shm, Kernel{6, 3}); how != IDMapAll || !can || err != nil {
			t.Errorf("tmpfs on 6.3: %q %v %v", how, can, err)
		}
	}
	if how, _, _ := IDMapping("/", now); how == IDMapAll {
		t.Error("/ has mounts below it")
	}
}

func TestKernel(t *testing.T) {
	for s, want := range map[string]Kernel{"6.1.0-18-amd64": {6, 1}, "5.19": {5, 19}, "6.18.3+": {6, 18}, "x": {}, "6": {}} {
		if got := parseKernel(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if h := Probe(); h.CPUs < 1 || h.Kernel == (Kernel{}) || h.MaxFiles == 0 {
		t.Errorf("%+v", h)
	}
}

func TestHostsFile(t *testing.T) {
	got, err := HostsFile("box", "example.org", []netip.Addr{netip.MustParseAddr("172.17.0.2")}, []HostEntry{{Name: "db", Aliases: []string{"box2"}, Address: netip.MustParseAddr("10.0.0.1")}})
	want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.0.0.1\tdb box2\n172.17.0.2\tbox.example.org box\n"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"a\nb", "a b", "a\x00"} {
		// Blanks in the container's own name make several names of it.
		if _, err := HostsFile(bad, "", nil, nil); !fault.Is(err, fault.Invalid) && bad != "a b" {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := HostsFile("x", "", nil, []HostEntry{{Name: bad}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestResolvConfNamed(t *testing.T) {
	const server = "127.0.0.11"
	for _, c := range []struct {
		host   string
		asked  Resolver
		want   string
		dotted bool
	}{
		{"", Resolver{}, "nameserver 127.0.0.11\noptions ndots:0\n", false},
		{"nameserver 10.0.0.1\nnameserver fd00::1\nsearch a b\noptions edns0 timeout:1\n", Resolver{}, "search a b\nnameserver 127.0.0.11\noptions edns0 timeout:1 ndots:0\n", false},
		{"search a\noptions ndots:2\n", Resolver{Servers: []string{"1.1.1.1"}, Search: []string{"."}}, "nameserver 127.0.0.11\noptions ndots:2\n", true},
		{"search a\noptions ndots:2\n", Resolver{Options: []string{"rotate"}}, "search a\nnameserver 127.0.0.11\noptions rotate ndots:0\n", false},
		{"", Resolver{Options: []string{"ndots:0"}, Search: []string{"b"}}, "search b\nnameserver 127.0.0.11\noptions ndots:0 ndots:0\n", false},
	} {
		if got, dotted, err := ResolvConfNamed([]byte(c.host), c.asked, server); err != nil || got != c.want || dotted != c.dotted {
			t.Errorf("%q %+v: %q, %v, %v, want %q", c.host, c.asked, got, dotted, err, c.want)
		}
	}
	if _, _, err := ResolvConfNamed(nil, Resolver{Search: []string{"a b"}}, server); !fault.Is(err, fault.Invalid) {
		t.Errorf("a search domain of two words: %v", err)
	}
}

func TestResolvConf(t *testing.T) {
	const host = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch lan\noptions edns0\n"
	for _, c := range []struct {
		host  string
		asked Resolver
		own   bool
		want  string
	}{
		{host, Resolver{}, false, "# made by hand\nnameserver 10.0.0.1\nsearch lan\noptions edns0\n"},
		{host, Resolver{}, true, host},
		{"nameserver 127.0.0.53\nsearch lan\n", Resolver{}, false, "search lan\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{"", Resolver{}, false, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{host, Resolver{Servers: []string{"1.1.1.1"}}, false, "search lan\nnameserver 1.1.1.1\noptions edns0\n"},
		{host, Resolver{Search: []string{"."}, Options: []string{"ndots:2"}}, false, "nameserver 10.0.0.1\noptions ndots:2\n"},
	} {
		if got, err := ResolvConf([]byte(c.host), c.asked, c.own); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c.asked, got, err)
		}
	}
	if _, err := ResolvConf(nil, Resolver{Servers: []string{"1.1.1.1\nx"}}, false); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
