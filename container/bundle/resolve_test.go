package bundle

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/container/config"
)

var nginx = ImageDefaults{
	User: "www", Env: []string{"PATH=/bin", "V=1"}, Entrypoint: []string{"/entry.sh"}, Cmd: []string{"nginx", "-g"},
	WorkingDir: "/srv", Labels: map[string]string{"a": "image", "b": "image"}, Volumes: []string{"/data", "/logs/"},
	ExposedPorts: []string{"80/tcp", "8000-8002/udp"}, StopSignal: "SIGQUIT",
	Health: &Health{Test: []string{"CMD", "check"}, Interval: time.Minute, Retries: 5},
}

func TestResolve(t *testing.T) {
	ports := []config.Port{{Protocol: "tcp", Container: 80, Count: 1}, {Protocol: "udp", Container: 8000, Count: 3}}
	plain := Resolved{
		Entrypoint: nginx.Entrypoint, Cmd: nginx.Cmd, Env: nginx.Env, WorkDir: "/srv", User: "www", Labels: nginx.Labels,
		Volumes: []string{"/data", "/logs"}, Expose: ports, StopSignal: "SIGQUIT", Health: nginx.Health,
	}
	for _, c := range []struct {
		name   string
		asked  config.Config
		change func(*Resolved)
	}{
		{"nothing asked", config.Config{}, func(*Resolved) {}},
		{"a command", config.Config{Process: config.Process{Args: []string{"sh"}}}, func(r *Resolved) { r.Cmd = []string{"sh"} }},
		{"an entrypoint takes the command away", config.Config{Process: config.Process{Entrypoint: []string{"sh"}}},
			func(r *Resolved) { r.Entrypoint, r.Cmd = []string{"sh"}, nil }},
		{"no entrypoint", config.Config{Process: config.Process{ClearEntrypoint: true, Args: []string{"ls"}}},
			func(r *Resolved) { r.Entrypoint, r.Cmd = nil, []string{"ls"} }},
		{"environment", config.Config{Process: config.Process{Env: []string{"X=2", "V=3"}}},
			func(r *Resolved) { r.Env = []string{"X=2", "V=3", "PATH=/bin"} }},
		{"a variable taken away", config.Config{Process: config.Process{Env: []string{"V"}}},
			func(r *Resolved) { r.Env = []string{"V", "PATH=/bin"} }},
		{"labels", config.Config{Labels: map[string]string{"a": "user"}},
			func(r *Resolved) { r.Labels = map[string]string{"a": "user", "b": "image"} }},
		{"user and folder", config.Config{Process: config.Process{User: "0:0", WorkDir: "/"}},
			func(r *Resolved) { r.User, r.WorkDir = "0:0", "/" }},
		{"a mount over a volume", config.Config{Mounts: []config.Mount{{Kind: "bind", Source: "/x", Target: "/logs"}}},
			func(r *Resolved) { r.Volumes = []string{"/data"} }},
		{"expose", config.Config{Network: config.Network{Expose: []config.Port{{Protocol: "tcp", Container: 22, Count: 1}, ports[0]}}},
			func(r *Resolved) {
				r.Expose = append([]config.Port{{Protocol: "tcp", Container: 22, Count: 1}}, ports...)
			}},
		{"health", config.Config{Health: &config.Health{Command: "true", Timeout: time.Second}}, func(r *Resolved) {
			r.Health = &Health{Test: []string{"CMD-SHELL", "true"}, Interval: time.Minute, Timeout: time.Second, Retries: 5}
		}},
		{"no health", config.Config{Health: &config.Health{None: true}}, func(r *Resolved) { r.Health = nil }},
		{"stop", config.Config{Stop: config.Stop{Signal: "9", Timeout: ptr(3)}},
			func(r *Resolved) { r.StopSignal, r.StopTimeout = "9", ptr(3) }},
	} {
		want := plain
		c.change(&want)
		got, err := Resolve(&c.asked, &nginx)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	for want, c := range map[string]config.Config{
		"No command specified": {Process: config.Process{ClearEntrypoint: true}},
		"the working directory 'srv' is invalid, it needs to be an absolute path": {Process: config.Process{WorkDir: "srv"}},
		"invalid environment variable: =x":                                        {Process: config.Process{Env: []string{"=x"}}},
		"Interval in Healthcheck cannot be less than 1ms":                         {Health: &config.Health{Interval: 1}},
		"Retries in Healthcheck cannot be negative":                               {Health: &config.Health{Retries: -1}},
	} {
		if _, err := Resolve(&c, &nginx); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Resolve(&config.Config{}, &ImageDefaults{}); err == nil || err.Error() != "No command specified" {
		t.Errorf("an empty image: %v", err)
	}
}

func TestEnviron(t *testing.T) {
	r := Resolved{Env: []string{"A=1", "PATH=/x", "HOSTNAME", "A=2"}}
	if got := strings.Join(r.Environ("h", true, []string{"http_proxy=p", "A=0"}), " "); got != "PATH=/x TERM=xterm http_proxy=p A=2" {
		t.Error(got)
	}
	r = Resolved{}
	if got := strings.Join(r.Environ("h", false, nil), " "); got != "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOSTNAME=h" {
		t.Error(got)
	}
}
