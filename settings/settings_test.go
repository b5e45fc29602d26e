package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// place writes files below a folder and gives Places that look only there.
func place(t *testing.T, uid int, files map[string]string) Places {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": filepath.Join(dir, "home"), "XDG_RUNTIME_DIR": "/run/user/7"}
	return Places{UID: func() int { return uid }, Getenv: func(k string) string { return env[k] }, Etc: filepath.Join(dir, "etc")}
}

func TestDefaults(t *testing.T) {
	s, err := Load(place(t, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.Root != "/var/lib/berth" || s.Run != "/run/berth" || !strings.HasSuffix(s.ConfigDir, "/etc/berth") {
		t.Errorf("root: %+v", s)
	}
	p := place(t, 7, nil)
	s, err = Load(p)
	if err != nil {
		t.Fatal(err)
	}
	home := p.Getenv("HOME")
	if s.Root != home+"/.local/share/berth" || s.Run != "/run/user/7/berth" || s.ConfigDir != home+"/.config/berth" {
		t.Errorf("user: %+v", s)
	}
}

func TestFilesOverrideEachOther(t *testing.T) {
	s, err := Load(place(t, 0, map[string]string{
		"etc/docker/daemon.json":   `{"data-root":"/data/docker","registry-mirrors":["https://m"],"insecure-registries":["a:1"],"bip":"10.0.0.1/8","nonsense":1}`,
		"etc/berth/berth.toml":     "run-root = \"/run/other\"\ninsecure-registries = [\"b:1\"]\ncolour = \"red\"\n",
		"home/.docker/config.json": `{"imagesFormat":"{{.ID}}","detachKeys":"ctrl-x","auths":{"x":{"auth":"c2VjcmV0"}},"proxies":{"default":{"httpProxy":"p"}}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if s.Root != "/data/docker/berth" || s.Run != "/run/other" {
		t.Errorf("folders: %s %s", s.Root, s.Run)
	}
	if !reflect.DeepEqual(s.Mirrors, []string{"https://m"}) || !reflect.DeepEqual(s.Insecure, []string{"b:1"}) {
		t.Errorf("registries: %v %v", s.Mirrors, s.Insecure)
	}
	if len(s.Unknown) != 2 || !strings.HasSuffix(s.Unknown[0], "daemon.json: nonsense") || !strings.HasSuffix(s.Unknown[1], "berth.toml: colour") {
		t.Errorf("unknown: %q", s.Unknown)
	}
	if s.Client.ImagesFormat != "{{.ID}}" || s.Client.DetachKeys != "ctrl-x" || s.Client.Proxies["default"].HTTPProxy != "p" {
		t.Errorf("client: %+v", s.Client)
	}
}

func TestUserOverridesMachine(t *testing.T) {
	s, err := Load(place(t, 7, map[string]string{
		"etc/berth/berth.toml":          `data-root = "/a"`,
		"home/.config/berth/berth.toml": `data-root = "/b"`,
		"etc/docker/daemon.json":        `{"data-root":"rel/of/root","registry-mirrors":["https://all"]}`,
	}))
	if err != nil || s.Root != "/b" || len(s.Mirrors) != 1 {
		t.Errorf("%v %+v", err, s)
	}
}

func TestUsersDaemon(t *testing.T) {
	s, err := Load(place(t, 7, map[string]string{
		"etc/docker/daemon.json":          `{"data-root":"/roots","registry-mirrors":["https://all"],"insecure-registries":["h:1"]}`,
		"home/.config/docker/daemon.json": `{"data-root":"/mine","registry-mirrors":["https://own"]}`,
	}))
	if err != nil || s.Root != "/mine/berth" || s.Mirrors[0] != "https://own" || s.Insecure[0] != "h:1" {
		t.Errorf("%v %+v", err, s)
	}
}

func TestDefaultsOfContainers(t *testing.T) {
	s, err := Load(place(t, 0, map[string]string{"etc/docker/daemon.json": `{
		"log-driver":"local","storage-opts":["overlay2.override_kernel_check=true","overlay2.size=20G"],"log-opts":{"max-size":"1m"},"default-shm-size":"32M","dns":["9.9.9.9"],"init":true,"selinux-enabled":false,"icc":false,
		"default-ulimits":{"nproc":{"Name":"nproc","Soft":1,"Hard":2},"nofile":{"Name":"nofile","Soft":64,"Hard":-1}},
		"bip":"10.1.0.1/16","ipv6":true,"bip6":"fd01::1/64","fixed-cidr-v6":"fd01::80/121","default-gateway-v6":"fd01::fe","ip-masq":false,"mtu":1400,"default-address-pools":[{"base":"10.2.0.0/16","size":24}]}`}))
	if err != nil {
		t.Fatal(err)
	}
	want := Containers{LogDriver: "local", LogOpts: map[string]string{"max-size": "1m"}, ShmSize: 32 << 20, SizeLimit: 20 << 30, SizeAsked: "20G", DNS: []string{"9.9.9.9"}, Init: true, NoSELinux: true,
		Ulimits: []Ulimit{{"nofile", 64, -1}, {"nproc", 1, 2}}}
	if !reflect.DeepEqual(s.Containers, want) {
		t.Errorf("containers: %+v", s.Containers)
	}
	n := s.Network
	if n.Address.String() != "10.1.0.1/16" || n.MTU != 1400 || n.ICC || n.Masq || !n.Relay || !n.IPv6 || n.Address6.String() != "fd01::1/64" || n.Fixed6.String() != "fd01::80/121" || n.Gateway6.String() != "fd01::fe" || len(n.Pools) != 1 || n.Pools[0].Base.String() != "10.2.0.0/16" || n.Pools[0].Size != 24 {
		t.Errorf("network: %+v", n)
	}
	for _, text := range []string{`{"bip":"10.1.0.1"}`, `{"storage-opts":["overlay2.size=much"]}`, `{"default-shm-size":"much"}`, `{"default-address-pools":[{"base":"10.2.0.0/16","size":8}]}`} {
		if _, err := Load(place(t, 0, map[string]string{"etc/docker/daemon.json": text})); err == nil || !strings.Contains(err.Error(), "daemon.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBrokenFilesAreNamed(t *testing.T) {
	for name, text := range map[string]string{
		"etc/docker/daemon.json": `{"data-root":`,
		"etc/berth/berth.toml":   `data-root = [`,
	} {
		if _, err := Load(place(t, 0, map[string]string{name: text})); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(place(t, 0, map[string]string{"etc/docker/daemon.json": `{"data-root":"rel"}`})); err == nil {
		t.Error("a relative data-root is taken")
	}
	big := map[string]string{"etc/berth/berth.toml": "#" + strings.Repeat("x", sizeLimit)}
	if _, err := Load(place(t, 0, big)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file beyond the cap: %v", err)
	}
}

// A broken config.json stops nothing, as with docker.
func TestBrokenClientFile(t *testing.T) {
	s, err := Load(place(t, 0, map[string]string{"home/.docker/config.json": `{"detachKeys":"ctrl-x","proxies":1}`}))
	if err != nil || s.ClientError == nil || !strings.Contains(s.ClientError.Error(), "config.json: ") || s.Client.DetachKeys != "" {
		t.Errorf("%v; %+v", err, s)
	}
}

func FuzzDaemon(f *testing.F) {
	f.Add(`{"data-root":"/x","registry-mirrors":["a"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Load(place(t, 0, map[string]string{"etc/docker/daemon.json": text}))
		if err == nil && !filepath.IsAbs(s.Root) {
			t.Errorf("root %q of %q", s.Root, text)
		}
	})
}
