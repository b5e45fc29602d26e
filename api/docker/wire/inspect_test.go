package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"berth/container/config"
)

// TestInspectAsDocker wants, byte for byte, what Docker 20.10.24 showed of a
// container that was created with these flags; only the capability is written
// as later versions write it.
func TestInspectAsDocker(t *testing.T) {
	want, err := os.ReadFile("testdata/inspect.json")
	if err != nil {
		t.Fatal(err)
	}
	var theirs []struct {
		ID, Image   string
		Created     time.Time
		GraphDriver GraphDriver
		HostConfig  struct{ MaskedPaths, ReadonlyPaths []string }
	}
	if err := json.Unmarshal(want, &theirs); err != nil {
		t.Fatal(err)
	}
	seconds := 3
	c := &config.Config{
		Image: config.Image{Name: "img"}, Hostname: "hh", Labels: map[string]string{"a": "b"},
		Process: config.Process{Init: true},
		Stdio:   config.Stdio{Terminal: true, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true},
		Network: config.Network{
			Mode: "none", DNS: []string{"1.1.1.1"}, ExtraHosts: []string{"q:1.2.3.4"},
			Publish: []config.Port{{Protocol: "tcp", Container: 80, Host: 8080, Count: 1}},
		},
		Namespaces: config.Namespaces{Cgroup: "host"},
		Mounts: []config.Mount{
			{Kind: "bind", Source: "/tmp", Target: "/h", Syntax: "-v"}, {Kind: "volume", Source: "vv", Target: "/v", ReadOnly: true, Syntax: "-v"},
			{Kind: "tmpfs", Target: "/t", SizeBytes: 1 << 20, Syntax: "--mount"}, {Kind: "tmpfs", Target: "/r", Options: []string{"size=1m"}, Syntax: "--tmpfs"},
		},
		Resources: config.Resources{
			Memory: config.Memory{Limit: 64 << 20}, CPU: config.CPU{Nano: 5e8}, Ulimits: []config.Ulimit{{Name: "nofile", Soft: 5, Hard: 6}},
			Block: config.Block{ReadBps: []config.DeviceNumber{{Path: "/dev/null", Value: 1 << 20}}},
		},
		Devices:  config.Devices{Add: []config.Device{{Host: "/dev/null", Container: "/dev/null", Permissions: "rwm"}}},
		Security: config.Security{CapAdd: []string{"CAP_NET_ADMIN"}, ReadOnlyRoot: true, Sysctls: map[string]string{"net.core.somaxconn": "5"}},
		Restart:  config.Restart{Policy: "on-failure", Retries: 2}, Log: config.Log{Options: map[string]string{"max-size": "1m"}},
		Stop: config.Stop{Signal: "INT", Timeout: &seconds}, Life: config.Life{Runtime: "runc"},
	}
	f := &Facts{
		ID: theirs[0].ID, Name: "w1", ImageID: theirs[0].Image, Created: theirs[0].Created, Driver: "overlay2", GraphData: theirs[0].GraphDriver.Data,
		Masked: theirs[0].HostConfig.MaskedPaths, ReadOnly: theirs[0].HostConfig.ReadonlyPaths, State: Life{Status: "created"},
		Process: Process{
			Path: "sh", Args: []string{"-c", "true"}, Entrypoint: []string{"sh"}, Cmd: []string{"-c", "true"}, Env: []string{"A=1"}, User: "5",
			WorkDir: "/w", Hostname: "hh", Labels: c.Labels, Exposed: []string{"80/tcp", "9/tcp"},
			Health: &Healthcheck{Test: []string{"CMD-SHELL", "x"}, Interval: 1e9},
		},
		Mounts: []MountPoint{
			{Type: "bind", Source: "/tmp", Destination: "/h", RW: true, Propagation: "rslave"},
			{Type: "volume", Name: "vv", Source: "/var/lib/docker/volumes/vv/_data", Destination: "/v", Driver: "local", Mode: "ro"},
			{Type: "tmpfs", Destination: "/t", RW: true},
		},
		Networks: map[string]*Endpoint{"none": {}},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "    ")
	if err := enc.Encode([]*Container{Inspect(c, f)}); err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(got), len(lines)) {
		if got[i] != lines[i] {
			t.Fatalf("line %d\ngot  %s\nwant %s", i+1, got[i], lines[i])
		}
	}
	if len(got) != len(lines) {
		t.Errorf("%d lines, want %d", len(got), len(lines))
	}
}

func TestStates(t *testing.T) {
	for status, want := range map[string][3]bool{ // running, paused, restarting
		"running": {true, false, false}, "paused": {true, true, false}, "restarting": {true, false, true}, "exited": {}, "created": {},
	} {
		s := (&Life{Status: status}).form()
		if got := [3]bool{s.Running, s.Paused, s.Restarting}; got != want {
			t.Errorf("%s: %v", status, got)
		}
	}
}

func TestAddressesOfThePrimaryNetwork(t *testing.T) {
	f := &Facts{Primary: "b", Networks: map[string]*Endpoint{"a": {IPAddress: "10.0.0.2"}, "b": {IPAddress: "10.1.0.2", Gateway: "10.1.0.1", IPPrefixLen: 16, MacAddress: "02:42:0a:01:00:02"}}}
	n := Inspect(&config.Config{}, f).NetworkSettings
	if n.IPAddress != "10.1.0.2" || n.Gateway != "10.1.0.1" || n.IPPrefixLen != 16 || n.MacAddress == "" || len(n.Networks) != 2 {
		t.Errorf("%+v", n)
	}
}

func TestBindings(t *testing.T) {
	got := bindings([]config.Port{{Protocol: "udp", Container: 5, Host: 15, Count: 2, Address: "127.0.0.1"}, {Protocol: "tcp", Container: 70, Host: 7000, HostEnd: 7010, Count: 1}, {Protocol: "tcp", Container: 80, Count: 1}})
	for key, want := range map[string]string{"5/udp": "15", "6/udp": "16", "70/tcp": "7000-7010", "80/tcp": ""} {
		if len(got[key]) != 1 || got[key][0].HostPort != want {
			t.Errorf("%s: %v", key, got[key])
		}
	}
}
