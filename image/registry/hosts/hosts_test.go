package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/base/fault"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// words is one endpoint as a line, so that a table shows what matters.
func words(e Endpoint) string {
	s := e.String() + e.Prefix + " " + e.Repository
	if e.Registry != e.Host {
		s += " as " + e.Registry
	}
	if e.Mirror {
		s += " mirror"
	}
	if e.Namespace != "" {
		s += " ns=" + e.Namespace
	}
	if e.TLS.SkipVerify {
		s += " unverified"
	}
	return s
}

func ask(t *testing.T, table *Table, host, repository string, p Purpose, want ...string) {
	t.Helper()
	found, err := table.Endpoints(host, repository, p)
	if err != nil {
		t.Fatalf("%s/%s: %v", host, repository, err)
	}
	var got []string
	for _, e := range found {
		got = append(got, words(e))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s/%s (-want +got):\n%s", host, repository, d)
	}
}

func TestPlainValues(t *testing.T) {
	table, err := Load(Options{
		Mirrors:  []string{"https://mirror.example", "http://10.0.0.1:5000/hub/"},
		Insecure: []string{"plain.example", "10.1.0.0/16", "other.example:5000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	hub := "https://registry-1.docker.io/v2 library/alpine as docker.io"
	ask(t, table, "docker.io", "library/alpine", Tag,
		"https://mirror.example/v2 library/alpine mirror", "http://10.0.0.1:5000/hub/v2 library/alpine mirror", hub)
	ask(t, table, "index.docker.io", "library/alpine", Push, hub)
	ask(t, table, "ghcr.io", "a/b", Tag, "https://ghcr.io/v2 a/b")
	ask(t, table, "plain.example:80", "a", Tag, "https://plain.example:80/v2 a unverified", "http://plain.example:80/v2 a")
	ask(t, table, "10.1.2.3:5000", "a", Push, "https://10.1.2.3:5000/v2 a unverified", "http://10.1.2.3:5000/v2 a")
	ask(t, table, "10.2.2.3:5000", "a", Tag, "https://10.2.2.3:5000/v2 a")
	ask(t, table, "other.example", "a", Tag, "https://other.example/v2 a")
	ask(t, table, "localhost:5000", "a", Tag, "https://localhost:5000/v2 a unverified", "http://localhost:5000/v2 a")
	ask(t, table, "[::1]:5000", "a", Tag, "https://[::1]:5000/v2 a unverified", "http://[::1]:5000/v2 a")

	secure, _ := Load(Options{SecureLoopback: true})
	ask(t, secure, "localhost:5000", "a", Tag, "https://localhost:5000/v2 a")
	all, _ := Load(Options{Insecure: []string{"*"}})
	ask(t, all, "any.example", "a", Tag, "https://any.example/v2 a unverified", "http://any.example/v2 a")

	for _, bad := range []string{"mirror.example", "ftp://x", "https://u:p@x", "https://x?y=z", "https://", "https://a b"} {
		if _, err := Load(Options{Mirrors: []string{bad}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("registry-mirrors %q: %v, want kind Invalid", bad, err)
		} else if strings.Contains(err.Error(), ":p@") {
			t.Errorf("the password stands in the message: %v", err)
		}
	}
}

const hostsToml = `
server = "https://registry-1.docker.io"
ca = "own.pem"

[host."http://second.example:5000/proxy"]
  capabilities = ["pull"]
  override_path = true
  [host."http://second.example:5000/proxy".header]
    x-a = "1"
    x-b = ["2", "3"]

[host."https://first.example"]
  capabilities = ["pull", "resolve"]
  skip_verify = true
  ca = ["a.pem", "/b.pem"]
  client = [["c.pem", "k.pem"], "both.pem"]
  dial_timeout = "2s"

[host."bare.example"]
  capabilities = ["push"]
`

func TestHostsToml(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/docker.io/hosts.toml", hostsToml)
	put(t, dir+"/reg.example_5000_/hosts.toml", `[host."https://m.example/v2/x"]`)
	put(t, dir+"/closed.example/hosts.toml", "capabilities = [\"push\"]\n")
	table, err := Load(Options{HostDirs: []string{dir}, Mirrors: []string{"https://unused.example"}})
	if err != nil {
		t.Fatal(err)
	}
	hub := "https://registry-1.docker.io/v2 library/a as docker.io"
	second := "http://second.example:5000/proxy library/a mirror ns=docker.io"
	first := "https://first.example/v2 library/a mirror ns=docker.io unverified"
	ask(t, table, "docker.io", "library/a", Digest, second, first, hub)
	ask(t, table, "docker.io", "library/a", Tag, first, hub)
	ask(t, table, "docker.io", "library/a", Push, "https://bare.example/v2 library/a mirror ns=docker.io", hub)
	ask(t, table, "reg.example:5000", "a", Tag, "https://m.example/v2/x/v2 a mirror ns=reg.example:5000", "https://reg.example:5000/v2 a")
	ask(t, table, "else.example", "a", Tag, "https://else.example/v2 a")
	if _, err := table.Endpoints("closed.example", "a", Tag); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a registry that serves no pulls: %v", err)
	}
	put(t, dir+"/pull.example/hosts.toml", "capabilities = [\"pull\"]\n")
	if own, err := table.Registry("pull.example"); err != nil || len(own) != 1 || words(own[0]) != "https://pull.example/v2 " {
		t.Errorf("the registry itself: %v %v", own, err)
	}
	if own, err := table.Registry("docker.io"); err != nil || len(own) != 1 || own[0].Host != "registry-1.docker.io" {
		t.Errorf("Docker Hub itself: %v %v", own, err)
	}

	found, _ := table.Endpoints("docker.io", "library/a", Digest)
	want := TLS{SkipVerify: true, CA: []string{dir + "/docker.io/a.pem", "/b.pem"},
		Client: []Pair{{dir + "/docker.io/c.pem", dir + "/docker.io/k.pem"}, {Cert: dir + "/docker.io/both.pem"}}}
	if d := cmp.Diff(want, found[1].TLS); d != "" {
		t.Errorf("TLS (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string][]string{"x-a": {"1"}, "x-b": {"2", "3"}}, found[0].Header); d != "" {
		t.Errorf("header (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{dir + "/docker.io/own.pem"}, found[2].TLS.CA); d != "" {
		t.Errorf("the server's authority (-want +got):\n%s", d)
	}
}

func TestHostsTomlErrorsNameFileAndKey(t *testing.T) {
	for text, want := range map[string]string{
		"server = 3":                                        "line 1, column 10: key server",
		"server = \"ftp://x\"":                              "key server: \"ftp://x\": the scheme",
		"[host.\"https://u:p@x\"]":                          "credentials do not belong",
		"[host.\"https://x\"]\ncapabilities=[\"fly\"]":      `key host."https://x".capabilities: "fly"`,
		"[host.\"https://x\"]\nca=[3]":                      `key host."https://x".ca`,
		"[host.\"https://x\"]\nclient=[[]]":                 `key host."https://x".client`,
		"[host.\"https://x\"]\ndial_timeout=\"soon\"":       `.dial_timeout: "soon"`,
		"[host.\"https://x\".header]\na=\"b\\r\\nc: d\"":    "line break",
		"[host.\"https://x\".header]\n\"a b\"=\"c\"":        "is no header",
		"[host.\"https://a/../../x@y\"":                     "line 1",
		"[host.\"https://ok\"]\n[host.\"https://bad_/%zz\"": "line 2",
	} {
		_, err := parseHosts("/d/hosts.toml", "r.example", []byte(text))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/d/hosts.toml") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than one line: %q", text, err)
		}
	}
}

const registriesConf = `
unqualified-search-registries = ["docker.io", "quay.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "example.com/foo"
location = "internal.example/bar"
[[registry.mirror]]
location = "m1.example/x"
insecure = true
[[registry.mirror]]
location = "m2.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "m3.example"
pull-from-mirror = "tag-only"

[[registry]]
location = "example.com/foo/blocked"
blocked = true

[[registry]]
prefix = "*.wild.example"
location = "tame.example"

[[registry]]
prefix = "*.asis.example"
insecure = true

[[registry]]
prefix = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hubmirror.example"

[aliases]
"alpine" = "docker.io/library/alpine"
"gone" = "quay.io/gone"
`

func TestRegistriesConf(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/registries.conf", registriesConf)
	put(t, dir+"/d/10-a.conf", "[[registry]]\nprefix=\"late.example\"\nblocked=true\n[aliases]\ngone=\"\"\n")
	put(t, dir+"/d/20-b.conf", "unqualified-search-registries=[\"reg.example:5000/team\"]\n[[registry]]\nprefix=\"late.example\"\nlocation=\"now.example\"\n")
	put(t, dir+"/d/30-c.txt", "not toml at all")
	table, err := Load(Options{RegistriesConf: dir + "/registries.conf", RegistriesDirs: []string{dir + "/d", dir + "/none"}})
	if err != nil {
		t.Fatal(err)
	}
	m1 := []string{"https://m1.example/v2 x/a/b mirror unverified", "http://m1.example/v2 x/a/b mirror"}
	own := "https://internal.example/v2 bar/a/b"
	ask(t, table, "example.com", "foo/a/b", Tag, m1[0], m1[1], "https://m3.example/v2 a/b mirror", own)
	ask(t, table, "example.com", "foo/a/b", Digest, m1[0], m1[1], "https://m2.example/v2 a/b mirror", own)
	ask(t, table, "example.com", "foo/a/b", Content, m1[0], m1[1], "https://m2.example/v2 a/b mirror", "https://m3.example/v2 a/b mirror", own)
	ask(t, table, "example.com", "foo/a/b", Push, "https://example.com/v2 foo/a/b")
	ask(t, table, "example.com", "foobar", Tag, "https://example.com/v2 foobar")
	ask(t, table, "x.wild.example", "a", Tag, "https://tame.example/v2 a")
	ask(t, table, "wild.example", "a", Tag, "https://wild.example/v2 a")
	ask(t, table, "x.asis.example", "a", Tag, "https://x.asis.example/v2 a unverified", "http://x.asis.example/v2 a")
	ask(t, table, "late.example", "a", Tag, "https://now.example/v2 a")
	ask(t, table, "docker.io", "library/a", Tag, "https://registry-1.docker.io/v2 library/a as docker.io")
	ask(t, table, "docker.io", "library/a", Digest, "https://hubmirror.example/v2 library/a mirror", "https://registry-1.docker.io/v2 library/a as docker.io")
	for _, p := range []Purpose{Tag, Digest, Push} {
		if _, err := table.Endpoints("example.com", "foo/blocked/x", p); !fault.Is(err, fault.Permission) || !strings.Contains(err.Error(), "blocked in "+dir+"/registries.conf") {
			t.Errorf("blocked: %v", err)
		}
	}
	names, alias := table.Candidates("alpine")
	if !alias || len(names) != 1 || names[0] != "docker.io/library/alpine" {
		t.Errorf("alias: %v %v", names, alias)
	}
	names, alias = table.Candidates("gone")
	if alias || fmt.Sprint(names) != "[reg.example:5000/team/gone]" || table.ShortNameMode() != Enforcing {
		t.Errorf("an alias taken back: %v %v %s", names, alias, table.ShortNameMode())
	}
}

func TestRegistriesConfOldForm(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/r.conf", "[registries.search]\nregistries=['a.example']\n[registries.insecure]\nregistries=['b.example']\n[registries.block]\nregistries=['c.example']\n")
	table, err := Load(Options{RegistriesConf: dir + "/r.conf"})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, table, "b.example", "x", Tag, "https://b.example/v2 x unverified", "http://b.example/v2 x")
	if _, err := table.Endpoints("c.example", "x", Tag); !fault.Is(err, fault.Permission) {
		t.Errorf("blocked: %v", err)
	}
	if names, _ := table.Candidates("x"); fmt.Sprint(names) != "[a.example/x]" {
		t.Errorf("search: %v", names)
	}
}

func TestRegistriesConfErrorsNameFileAndKey(t *testing.T) {
	for text, want := range map[string]string{
		"[[registry]]":                                        "registry[0].prefix",
		"[[registry]]\nprefix=\"/\"":                          "registry[0].prefix",
		"[[registry]]\nprefix=\"*.a/b\"":                      "registry[0].prefix",
		"[[registry]]\nlocation=\"https://a\"":                "registry[0].location",
		"[[registry]]\nprefix=\"a\"\nlocation=\"b/../c\"":     "registry[0].location",
		"[[registry]]\nprefix=\"a\"\nblocked=\"yes\"":         "line 3",
		"[[registry]]\nprefix=\"a\"\n[[registry.mirror]]":     "registry[0].mirror[0].location",
		"unqualified-search-registries=[\"a b\"]":             "unqualified-search-registries",
		"short-name-mode=\"maybe\"":                           "short-name-mode",
		"[aliases]\nx=\"y\"":                                  `aliases."x"`,
		"unqualified-search-registries=[\"a\"]\n[registries]": "cannot be mixed",
		"[[registry]]\nprefix=\"a\"\n[[registry.mirror]]\nlocation=\"b\"\npull-from-mirror=\"never\"": "pull-from-mirror",
	} {
		_, err := parseRegistries("/r.conf", []byte(text))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/r.conf") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	put(t, dir+"/big.conf", strings.Repeat("#", maxFile+1))
	if _, err := Load(Options{RegistriesConf: dir + "/big.conf"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a file over the cap: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"r.example:5000/ca.crt", "r.example:5000/me.cert", "r.example:5000/me.key", "half.example/me.cert", "docker.io/hub.crt"} {
		put(t, dir+"/"+f, "")
	}
	table, _ := Load(Options{CertDirs: []string{dir + "/none", dir}})
	found, err := table.Endpoints("r.example:5000", "a", Tag)
	d := dir + "/r.example:5000/"
	want := TLS{CA: []string{d + "ca.crt"}, Client: []Pair{{d + "me.cert", d + "me.key"}}}
	if err != nil || !cmp.Equal(want, found[0].TLS) {
		t.Errorf("certs.d: %v %v", found, err)
	}
	if found, _ = table.Endpoints("docker.io", "a", Tag); len(found[0].TLS.CA) != 1 {
		t.Errorf("certs.d of docker.io: %v", found)
	}
	if _, err = table.Endpoints("half.example", "a", Tag); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "missing key me.key") {
		t.Errorf("a certificate without its key: %v", err)
	}
	for _, host := range []string{"..", "../r.example:5000", "r.example:5000/../x", ".", "a b", ""} {
		if _, err = table.Endpoints(host, "a", Tag); !fault.Is(err, fault.Invalid) {
			t.Errorf("host %q: %v, want kind Invalid", host, err)
		}
	}
}

func TestDialects(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	yes := func(string) bool { return true }
	o := Podman(env(map[string]string{"HOME": "/h"}), false, yes)
	if o.RegistriesConf != "/h/.config/containers/registries.conf" || len(o.RegistriesDirs) != 2 || !o.SecureLoopback {
		t.Errorf("a user's podman: %+v", o)
	}
	o = Podman(env(map[string]string{"HOME": "/root", "CONTAINERS_REGISTRIES_CONF": "/x"}), true, yes)
	if o.RegistriesConf != "/x" || o.RegistriesDirs != nil {
		t.Errorf("podman with its variable: %+v", o)
	}
	if o = Docker(env(map[string]string{"XDG_CONFIG_HOME": "/c"}), false); o.CertDirs[0] != "/c/docker/certs.d" {
		t.Errorf("a user's docker: %+v", o)
	}
}

func FuzzHostsToml(f *testing.F) {
	f.Add([]byte(hostsToml))
	f.Add([]byte("server=\"x\"\n[host]\n[host.a]\nca=[[]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseHosts("f", "r.example:5000", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		if len(entries) == 0 || entries[len(entries)-1].endpoint.Mirror {
			t.Error("the server is not the last")
		}
		for _, e := range entries {
			if !validHost(e.endpoint.Host) || e.endpoint.Scheme != "http" && e.endpoint.Scheme != "https" {
				t.Errorf("endpoint %+v", e.endpoint)
			}
		}
	})
}

func FuzzRegistriesConf(f *testing.F) {
	f.Add([]byte(registriesConf), "example.com", "foo/a")
	f.Add([]byte("[registries.search]\nregistries=['a']"), "a", "b")
	f.Fuzz(func(t *testing.T, data []byte, host, repository string) {
		parsed, err := parseRegistries("f", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		table := &Table{registries: registries{aliases: map[string]string{}}}
		table.registries.merge(parsed)
		if !validHost(host) || checkLocation(host+"/"+repository) != nil {
			return
		}
		found, err := table.Endpoints(host, repository, Tag)
		for _, e := range found {
			if err == nil && (!validHost(e.Host) || checkLocation(e.Host+"/"+e.Repository) != nil) {
				t.Errorf("endpoint %+v", e)
			}
		}
		table.Candidates(repository)
	})
}
