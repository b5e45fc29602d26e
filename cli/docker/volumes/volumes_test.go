package volumes

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/containers"
)

func call(d command.Dialect) (*command.Call, *bytes.Buffer) {
	var out bytes.Buffer
	return &command.Call{Dialect: d, Program: "docker", Out: &out, Err: &out}, &out
}

func TestCreateRequest(t *testing.T) {
	for line, want := range map[string]any{
		"":                                   Volume{Driver: "local"},
		"v":                                  Volume{Name: "v", Driver: "local"},
		"--name v":                           Volume{Name: "v", Driver: "local"},
		"--name v w":                         "Conflicting options: either specify --name or provide positional arg, not both",
		"-d d --label a=b --label c v":       Volume{Name: "v", Driver: "d", Labels: map[string]string{"a": "b", "c": ""}},
		"-o type=tmpfs -o o=size=1,b -o d v": Volume{Name: "v", Driver: "local", Options: map[string]string{"type": "tmpfs", "o": "size=1,b", "d": ""}},
		"--label =x v":                       "invalid label '=x': empty name",
	} {
		v := new(Create)
		e := &command.Entry{Path: "volume create", Words: command.Count{Max: 1}, New: func() command.Verb { return v }}
		words, _, err := e.Make().Parse(command.Docker, "docker volume create", strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		r, err := v.request(words)
		var got any = r
		if err != nil {
			got = err.Error()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("volume create %s: %+v", line, got)
		}
	}
}

func oneVolume() Volume {
	return Volume{
		Name: "vv", Driver: "local", Mountpoint: "/var/lib/docker/volumes/vv/_data", Created: time.Date(2026, 11, 30, 15, 0, 0, 0, time.Local),
		Labels: map[string]string{"b": "2", "a": "1"},
	}
}

func TestList(t *testing.T) {
	for source, want := range map[string]string{
		"":                             "DRIVER    VOLUME NAME\nlocal     vv\n",
		"{{.Name}} {{.Label \"a\"}}":   "vv 1\n",
		"json":                         `{"Driver":"local","Labels":"a=1,b=2","Links":"N/A","Mountpoint":"/var/lib/docker/volumes/vv/_data","Name":"vv","Scope":"local","Size":"N/A"}` + "\n",
		"table {{.Name}}\t{{.Labels}}": "VOLUME NAME   LABELS\nvv            a=1,b=2\n",
	} {
		c, out := call(command.Docker)
		v := &List{format: source}
		if err := v.print(c, []Volume{oneVolume()}); err != nil || out.String() != want {
			t.Errorf("%q: %v\ngot  %q\nwant %q", source, err, out, want)
		}
	}
	c, out := call(command.Docker)
	_ = (&List{quiet: true}).print(c, []Volume{oneVolume()})
	if out.String() != "vv\n" {
		t.Errorf("-q: %q", out)
	}
}

// TestInspect: what is there is printed, what is not is told of, and the
// document has docker's fields in docker's order.
func TestInspect(t *testing.T) {
	c, out := call(command.Docker)
	err := containers.PrintDocuments(c, "", []string{"vv", "nope"}, func(name string) (any, error) {
		if name == "nope" {
			return nil, missing(c, name, fault.New(fault.NotFound, "get nope: no such volume"))
		}
		v := oneVolume()
		v.Labels = nil
		return document(c, &v), nil
	})
	want := `[
    {
        "CreatedAt": "` + oneVolume().Created.Format(time.RFC3339) + `",
        "Driver": "local",
        "Labels": null,
        "Mountpoint": "/var/lib/docker/volumes/vv/_data",
        "Name": "vv",
        "Options": null,
        "Scope": "local"
    }
]
`
	if out.String() != want || err == nil || err.Error() != "Error: No such volume: nope" {
		t.Errorf("%v\n%s", err, out)
	}
	c, out = call(command.Docker)
	_ = containers.PrintDocuments(c, "{{.Mountpoint}}", []string{"vv"}, func(string) (any, error) { v := oneVolume(); return document(c, &v), nil })
	if out.String() != "/var/lib/docker/volumes/vv/_data\n" {
		t.Errorf("%q", out)
	}
}
