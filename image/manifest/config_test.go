package manifest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

const dockerConfig = `{"architecture":"amd64","config":{"Hostname":"","AttachStdin":false,"Tty":false,"User":"app",
"ExposedPorts":{"443/tcp":{},"80/tcp":{},"5000-5002/udp":{}},"Env":["PATH=/bin","MULTI=a\nb"],"Cmd":["-v"],"Image":"sha256:x",
"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3},"ArgsEscaped":true,
"Volumes":{"/data/":{},"/data":{},"/a/../b":{}},"WorkingDir":"/w","Entrypoint":"/entry","OnBuild":["RUN x"],"StopSignal":"SIGINT",
"StopTimeout":5,"Shell":["/bin/sh","-c"],"Labels":{"a":"1","A":"2","io.berth.x":"no"}},"container_config":{"Cmd":null},
"created":"2024-01-02T03:04:05.000000006Z","docker_version":"20.10","history":[
{"created":"2024-01-02T03:04:05Z","created_by":"ADD"},{"created_by":"ENV","empty_layer":true},{"created_by":"RUN"}],
"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:1111111111111111111111111111111111111111111111111111111111111111",
"sha256:2222222222222222222222222222222222222222222222222222222222222222"]}}`

func TestDecodeConfig(t *testing.T) {
	c, err := DecodeConfig([]byte(dockerConfig))
	if err != nil {
		t.Fatal(err)
	}
	d := &c.Defaults
	if string(c.Raw()) != dockerConfig || c.Digest() != digest.FromString(dockerConfig) {
		t.Error("the bytes changed")
	}
	if d.User != "app" || !slices.Equal(d.Entrypoint, Words{"/entry"}) || !slices.Equal(d.Cmd, Words{"-v"}) ||
		!d.ArgsEscaped || d.StopSignal != "SIGINT" || *d.StopTimeout != 5 || len(d.Shell) != 2 || d.OnBuild[0] != "RUN x" {
		t.Errorf("%+v", d)
	}
	if h := d.Healthcheck; h.Interval != 30*time.Second || h.Retries != 3 || h.Test[1] != "true" {
		t.Errorf("%+v", h)
	}
	ports, err := d.Ports()
	if err != nil || len(ports) != 3 || ports[0].String() != "80/tcp" || ports[2].String() != "5000-5002/udp" {
		t.Error(ports, err)
	}
	if v, err := d.VolumePaths(); err != nil || !slices.Equal(v, []string{"/b", "/data"}) {
		t.Error(v, err)
	}
	if l := d.UserLabels(); len(l) != 2 || l["A"] != "2" {
		t.Error(l)
	}
	steps, agrees := c.Steps()
	if !agrees || len(steps) != 3 || steps[0].DiffID != digest.Digest("sha256:"+sum1) || steps[1].DiffID != "" || steps[2].DiffID == "" {
		t.Error(steps, agrees)
	}
	if PlatformString(c.Platform()) != "linux/amd64" || c.Created.Nanosecond() != 6 {
		t.Error(c.Platform(), c.Created)
	}
	if err := CheckLayers(&v1.Manifest{Layers: make([]v1.Descriptor, 2)}, c); err != nil {
		t.Error(err)
	}
	if err := CheckLayers(&v1.Manifest{Layers: make([]v1.Descriptor, 3)}, c); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestStepsThatDoNotAgree(t *testing.T) {
	c, err := DecodeConfig([]byte(strings.Replace(dockerConfig, `{"created_by":"RUN"}`, `{"created_by":"RUN","empty_layer":true}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if steps, agrees := c.Steps(); agrees || len(steps) != 4 || steps[3].DiffID != digest.Digest("sha256:"+sum2) {
		t.Error(steps, agrees)
	}
	c, err = DecodeConfig([]byte(strings.Replace(dockerConfig, `,"empty_layer":true`, ``, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if steps, agrees := c.Steps(); agrees || len(steps) != 3 || steps[2].DiffID != "" {
		t.Error(steps, agrees)
	}
}

func TestDecodeConfigRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"line in User", `"app"`, `"app\nroot:x:0:0"`, "User is no plain line"},
		{"line in WorkingDir", `"/w"`, `"/w\n"`, "WorkingDir is no plain line"},
		{"NUL in Env", `MULTI=a\nb`, `MULTI=a\u0000b`, "Env has a NUL"},
		{"NUL in Cmd", `"-v"`, `"\u0000"`, "Cmd has a NUL"},
		{"health", `30000000000`, `-1`, "negative"},
		{"health test", `"CMD-SHELL"`, `"SHELL"`, "not NONE, CMD or CMD-SHELL"},
		{"rootfs", `"layers"`, `"tar"`, "not layers"},
		{"diff id", sum2, sum2[1:] + "/", "diff id 1"},
		{"twice", `"os":"linux"`, `"os":"linux","OS":"windows"`, `"OS" stands twice`},
		{"label twice", `"A":"2"`, `"a":"2"`, `"a" stands twice`},
		{"words", `"/entry"`, `{"a":1}`, "cannot unmarshal"},
		{"timeout", `"StopTimeout":5`, `"StopTimeout":-5`, "StopTimeout is -5"},
	} {
		raw := strings.Replace(dockerConfig, c.old, c.new, 1)
		if raw == dockerConfig {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		if _, err := DecodeConfig([]byte(raw)); err == nil || !strings.Contains(err.Error(), c.want) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

func TestPortsAndVolumes(t *testing.T) {
	for in, want := range map[string]string{"80": "80/tcp", "80/UDP": "80/udp", "1-2/sctp": "1-2/sctp", "53/": "53/tcp"} {
		if p, err := ParsePort(in); err != nil || p.String() != want {
			t.Errorf("ParsePort(%q) = %v, %v", in, p, err)
		}
	}
	for _, in := range []string{"", "0", "70000", "2-1", "a", "80/icmp", "-1", "1-", "80/tcp/x"} {
		if p, err := ParsePort(in); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParsePort(%q) = %v, %v", in, p, err)
		}
	}
	for _, in := range []string{"data", "/", "/..", "", "/a\nb"} {
		d := Defaults{Volumes: map[string]struct{}{in: {}}}
		if v, err := d.VolumePaths(); err == nil {
			t.Errorf("volume %q: %q", in, v)
		}
	}
}

func TestNewConfig(t *testing.T) {
	c, err := NewConfig(Config{OS: "linux", Architecture: "arm64", Defaults: Defaults{Cmd: Words{"sh"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"architecture":"arm64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[]}}`
	if string(c.Raw()) != want {
		t.Error(string(c.Raw()))
	}
	if steps, agrees := c.Steps(); len(steps) != 0 || !agrees {
		t.Error(steps, agrees)
	}
}

func FuzzDecodeConfig(f *testing.F) {
	f.Add([]byte(dockerConfig))
	f.Add([]byte(`{"config":{"Cmd":null,"Entrypoint":"a"},"rootfs":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		orig := bytes.Clone(raw)
		c, err := DecodeConfig(raw)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("error of more than one line: %q", err)
			}
			return
		}
		steps, agrees := c.Steps()
		if len(steps) < len(c.History) || agrees && len(steps) != len(c.History) || !bytes.Equal(c.Raw(), orig) {
			t.Fatal(steps, agrees)
		}
		_, _ = c.Defaults.Ports()
		paths, err := c.Defaults.VolumePaths()
		for _, p := range paths {
			if err == nil && (p == "/" || p[0] != '/' || strings.Contains(p, "/../")) {
				t.Fatalf("volume %q", p)
			}
		}
		if strings.ContainsAny(c.Defaults.User+c.Defaults.WorkingDir, "\n\r\x00") {
			t.Fatal("a new line went through")
		}
	})
}
