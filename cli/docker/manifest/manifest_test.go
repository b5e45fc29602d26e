package manifest

import (
	"reflect"
	"strings"
	"testing"

	"berth/cli/docker/command"
	"berth/image"
)

// words parses a command line as the frame does.
func words(t *testing.T, v command.Verb, line string) []string {
	t.Helper()
	e := &command.Entry{Path: "verb", Words: command.Count{Max: command.Many}, New: func() command.Verb { return v }}
	got, _, err := e.Make().Parse(command.Berth, "berth verb", strings.Fields(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return got
}

func TestParseCreate(t *testing.T) {
	v := new(Create)
	got, err := v.request(words(t, v, "-a --all --insecure l docker://q.io/x y"))
	want := image.ListRequest{List: "l", Members: []string{"q.io/x", "y"}, Amend: true, All: true, Access: image.Access{AnyTLS: true}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %+v", err, got)
	}
}

func TestParseAdd(t *testing.T) {
	v := new(Add)
	got, err := v.request(words(t, v, "--all --arch arm --variant v7 --os linux --os-features a,b --os-version 1 --annotation k=v=w --creds u:p --cert-dir /c l x"))
	want := image.ListRequest{List: "l", Members: []string{"x"}, All: true, Access: image.Access{Auth: &image.Credential{Username: "u", Password: "p"}, CertDir: "/c"}, Set: image.Annotation{
		OS: "linux", Arch: "arm", Variant: "v7", OSVersion: "1", OSFeatures: []string{"a", "b"}, Annotations: map[string]string{"k": "v=w"},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	v = new(Add)
	if _, err := v.request(words(t, v, "--annotation k l x")); err == nil {
		t.Error("an annotation without a value")
	}
}

func TestParsePush(t *testing.T) {
	v := new(Push)
	got, err := v.request(words(t, v, "--purge --insecure --compression-format zstd l docker://q.io/l:2"))
	want := image.PushRequest{Name: "q.io/l:2", Access: image.Access{AnyTLS: true}, Compression: "zstd"}
	if err != nil || !reflect.DeepEqual(got, want) || !v.purge || !v.all {
		t.Errorf("%v %+v %+v", err, got, v)
	}
}

func TestParseInspect(t *testing.T) {
	v := new(Inspect)
	w := words(t, v, "-v --tls-verify=false l x")
	got, err := v.access.Value()
	if err != nil || !got.AnyTLS || !v.verbose || len(w) != 2 {
		t.Errorf("%v %+v %v", err, got, w)
	}
}

func TestParseRemove(t *testing.T) {
	v := new(Drop)
	d := "sha256:" + strings.Repeat("a", 64)
	if got, err := v.digests([]string{d}); err != nil || string(got[0]) != d {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"sha256:x", "latest", "../../etc", ""} {
		if _, err := v.digests([]string{bad}); err == nil {
			t.Errorf("%q is taken as a digest", bad)
		}
	}
}
