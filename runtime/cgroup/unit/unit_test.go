package unit

import (
	"fmt"
	"strings"
	"testing"

	"berth/runtime/cgroup/devfilter"
)

func TestNames(t *testing.T) {
	for _, tc := range []struct{ path, unit, dir string }{
		{"", "berth-id.scope", "system.slice/berth-id.scope"},
		{"machine.slice:libpod:id", "libpod-id.scope", "machine.slice/libpod-id.scope"},
		{"a-b-c.slice:p:n", "p-n.scope", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"},
		{"-.slice:p:n", "p-n.scope", "p-n.scope"},
		{":p:n", "p-n.scope", "system.slice/p-n.scope"},
		{"a.slice::n", "n.scope", "a.slice/n.scope"},
		{"a.slice:p:a-pod.slice", "a-pod.slice", "a.slice/a-pod.slice"},
		{"/a/b", "error", ""},
		{"a.slice:p", "error", ""},
		{"a:p:n", "error", ""},
		{"a--b.slice:p:n", "error", ""},
		{"-a.slice:p:n", "error", ""},
		{"a/b.slice:p:n", "error", ""},
		{"a.slice:p:../n", "error", ""},
		{"a.slice:p:n\n", "error", ""},
		{"a.slice:p:" + strings.Repeat("n", 300), "error", ""},
	} {
		s, err := Parse(tc.path, "id", false)
		name, dir := "error", ""
		if err == nil {
			name, dir = s.Name, s.Path()
		}
		if name != tc.unit || dir != tc.dir {
			t.Errorf("%q: %s in %s (%v), want %s in %s", tc.path, name, dir, err, tc.unit, tc.dir)
		}
	}
}

func TestBitmap(t *testing.T) {
	for in, want := range map[string]string{"0": "[1]", "0-3,8": "[15 1]", "7,9": "[128 2]", "": "error", "3-1": "error", "a": "error", "0-99999": "error"} {
		b, err := bitmap(in)
		got := fmt.Sprint(b)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	got, err := annotated(map[string]string{
		"org.systemd.property.TimeoutStopUSec": "uint64 1500000",
		"org.systemd.property.RuntimeMaxSec":   "3",
		"org.systemd.property.After":           "['a.service', 'b.service']",
		"org.systemd.property.SendSIGHUP":      "true",
		"org.systemd.property.ExecStop":        "'/bin/sh'",
		"org.systemd.property.PIDs":            "[uint32 1]",
		"org.systemd.property.DevicePolicy":    "'auto'",
		"org.systemd.property.Delegate":        "false",
		"org.systemd.property.MemoryMax":       "uint64 1",
		"org.systemd.propertyX":                "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `[After as ["a.service", "b.service"] RuntimeMaxUSec t 3000000 SendSIGHUP b true TimeoutStopUSec t 1500000]`
	if fmt.Sprint(got) != want {
		t.Errorf("%v\nwant %s", got, want)
	}
	for _, bad := range []string{"", "'", "[1,", "'a\nb'", strings.Repeat("[", 3000), strings.Repeat("1", 5000)} {
		if p, err := annotated(map[string]string{"org.systemd.property.KillMode": bad}); err == nil || !strings.HasPrefix(err.Error(), `annotations["org.systemd.property.KillMode"]`) {
			t.Errorf("%.20q: %v, %v", bad, p, err)
		}
	}
}

func TestDeviceAllow(t *testing.T) {
	majors := ParseMajors([]byte("Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n259 blkext\n"))
	r := func(allow bool, kind byte, major, minor int64, access uint8) devfilter.Rule {
		return devfilter.Rule{Allow: allow, Type: kind, Major: major, Minor: minor, Access: access}
	}
	for _, tc := range []struct {
		rules []devfilter.Rule
		want  string
	}{
		{nil, `[DevicePolicy s "strict" DeviceAllow a(ss) []]`},
		{[]devfilter.Rule{r(true, 'c', 1, 3, 7), r(true, 'b', 8, devfilter.Any, 2), r(true, 'c', 99, devfilter.Any, 7), r(false, 'c', 1, 3, 4)},
			`[DevicePolicy s "strict" DeviceAllow a(ss) [("/dev/char/1:3", "rwm",), ("block-sd", "r",)]]`},
		{[]devfilter.Rule{r(true, 'a', devfilter.Any, 5, 1)}, `[DevicePolicy s "strict" DeviceAllow a(ss) [("char-*", "m",), ("block-*", "m",)]]`},
		{[]devfilter.Rule{r(true, 'a', devfilter.Any, devfilter.Any, 7), r(false, 'c', 1, 3, 7)}, `[DevicePolicy s "auto" DeviceAllow a(ss) []]`},
	} {
		if got := fmt.Sprint(devices(tc.rules, majors)); got != tc.want {
			t.Errorf("%v:\n%s\nwant %s", tc.rules, got, tc.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	env := map[string]string{"XDG_RUNTIME_DIR": "/run/user/7 x", "DBUS_SESSION_BUS_ADDRESS": "unix:abstract=y"}
	got := strings.Join(addresses(true, func(k string) string { return env[k] }, 1), " ")
	if !strings.HasPrefix(got, "unix:path=/run/user/7%20x/systemd/private unix:abstract=y unix:path=/run/user/7%20x/bus unix:path=/run/user/") {
		t.Error(got)
	}
	if got := addresses(false, func(string) string { return "" }, 0); got[0] != "unix:path=/run/systemd/private" || len(got) != 3 {
		t.Error(got)
	}
	for _, addr := range []string{"unixexec:path=/bin/sh", "tcp:host=localhost,port=1", "unix:path=/x;unixexec:path=/bin/sh"} {
		if _, err := dialOne(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "not a unix socket") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func FuzzAnnotation(f *testing.F) {
	for _, s := range []string{"uint64 5", "'a'", "['a', 'b']", "{'a': <1>}", "@as []", "-1.5"} {
		f.Add("TimeoutStopSec", s)
		f.Add("KillMode", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		props, err := annotated(map[string]string{AnnotationPrefix + name: value})
		if err != nil {
			return
		}
		for _, p := range props {
			if allowed[p.Name] == "" {
				t.Fatalf("%q is not allowed", p.Name)
			}
			_ = p.String() // what cannot be sent must not get here
		}
	})
}
