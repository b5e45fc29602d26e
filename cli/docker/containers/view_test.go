package containers

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"berth/cli/docker/command"
)

var now = time.Date(2026, 11, 30, 15, 30, 0, 0, time.UTC)

func call(d command.Dialect) (*command.Call, *bytes.Buffer) {
	var out bytes.Buffer
	return &command.Call{Dialect: d, Program: "docker", Out: &out, Err: &out, Now: func() time.Time { return now }}, &out
}

func ago(d time.Duration) time.Time { return now.Add(-d) }

// seen are containers as Docker 20.10.24 was asked about them, with its answer
// in TestTableAsDocker.
func seen() []Summary {
	return []Summary{
		{
			ID: "da96cb561469e93820e81dc7d7c4a40478c3b99765416680e74d71fe825350ab", Name: "e1", Image: "img",
			Command: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}, Created: ago(18 * time.Minute), Networks: []string{"none"},
			State: State{Status: "exited", ExitCode: 3, FinishedAt: ago(18 * time.Minute)}, RootSize: 1980000,
		},
		{
			ID: "bf2ee8b41f83bd58b300b6054fcb17ecb5cf3069579c620632f2365b05b7306c", Name: "c1", Image: "img", Command: []string{"true"},
			Created: ago(18*time.Minute + 1), Networks: []string{"none"}, State: State{Status: "exited", FinishedAt: ago(5 * time.Minute)}, RootSize: 1980000,
		},
		{
			ID: "200088eb659e3c58af9d492397e2f2af86128b6f8f3a5b7b4c7b5b3af8c482ab", Name: "r1", Image: "img", Command: []string{"sleep", "1000"},
			Created: ago(18*time.Minute + 2), Networks: []string{"none"}, State: State{Status: "exited", FinishedAt: ago(70 * time.Second)}, RootSize: 1980000,
		},
	}
}

func printed(t *testing.T, d command.Dialect, flags string, list []Summary) string {
	t.Helper()
	v := new(List)
	e := &command.Entry{Path: "ps", New: func() command.Verb { return v }}
	if _, _, err := e.Make().Parse(d, "docker ps", strings.Split(strings.TrimSpace(flags), "|")); err != nil && flags != "" {
		t.Fatal(err)
	}
	v.order(list)
	c, out := call(d)
	if err := v.print(c, v.format, list); err != nil {
		return err.Error()
	}
	return out.String()
}

func TestTableAsDocker(t *testing.T) {
	want := `CONTAINER ID   IMAGE     COMMAND                  CREATED          STATUS                          PORTS     NAMES     SIZE
da96cb561469   img       "sh -c 'echo out; ec…"   18 minutes ago   Exited (3) 18 minutes ago                 e1        0B (virtual 1.98MB)
bf2ee8b41f83   img       "true"                   18 minutes ago   Exited (0) 5 minutes ago                  c1        0B (virtual 1.98MB)
200088eb659e   img       "sleep 1000"             18 minutes ago   Exited (0) About a minute ago             r1        0B (virtual 1.98MB)
`
	if got := printed(t, command.Docker, "-s", seen()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestListForms(t *testing.T) {
	one := seen()[:1]
	one[0].Labels = map[string]string{"b": "2", "com.x.a": "1"}
	one[0].Mounts = []string{"data", "/a/very/long/path/indeed"}
	for flags, want := range map[string]string{
		"-q":            "da96cb561469\n",
		"-q|--no-trunc": one[0].ID + "\n",
		"--format|{{.Names}} {{.Label \"b\"}} {{.Mounts}} {{.LocalVolumes}}": "e1 2 data,/a/very/long/p… 1\n",
		"--format|table {{.ID}}\t{{.Label \"com.x.a\"}}":                     "CONTAINER ID   a\nda96cb561469   1\n",
		"--format|{{.Foo}}": "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *containers.Row",
		"--format|{{":       "failed to parse template: template: :1: unclosed action",
		"--format|json": `{"Command":"\"sh -c 'echo out; ec…\"","CreatedAt":"2026-11-30 15:12:00 +0000 UTC","ID":"da96cb561469","Image":"img",` +
			`"Labels":"b=2,com.x.a=1","LocalVolumes":"1","Mounts":"data,/a/very/long/p…","Names":"e1","Networks":"none","Ports":"",` +
			`"RunningFor":"18 minutes ago","Size":"0B (virtual 1.98MB)","State":"exited","Status":"Exited (3) 18 minutes ago"}` + "\n",
		"--noheading|--format|table {{.Names}}": "e1\n",
	} {
		if got := printed(t, command.Docker, flags, one); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", flags, got, want)
		}
	}
}

func TestHostileText(t *testing.T) {
	one := Summary{ID: "abc", Name: "n", Image: "i\x1b[31m", Command: []string{"a\nb", "\x1b]0;x\x07"}, Created: ago(time.Hour), State: State{Status: "created"}}
	got := printed(t, command.Docker, "", []Summary{one})
	if strings.ContainsAny(got, "\x1b\x07") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		s              State
		docker, podman string
	}{
		{State{Status: "created"}, "Created", "Created"},
		{State{Status: "running", StartedAt: ago(5 * time.Second)}, "Up 5 seconds", "Up 5 seconds ago"},
		{State{Status: "running", StartedAt: ago(2 * time.Hour), Health: "starting"}, "Up 2 hours (health: starting)", "Up 2 hours ago (starting)"},
		{State{Status: "running", StartedAt: ago(2 * time.Hour), Health: "healthy"}, "Up 2 hours (healthy)", "Up 2 hours ago (healthy)"},
		{State{Status: "paused", StartedAt: ago(time.Minute), Health: "healthy"}, "Up About a minute (Paused)", "Up About a minute ago (Paused)"},
		{State{Status: "restarting", ExitCode: 1, FinishedAt: ago(time.Second)}, "Restarting (1) 1 second ago", "Restarting (1) 1 second ago"},
		{State{Status: "removing"}, "Removal In Progress", "Removal In Progress"},
		{State{Status: "dead"}, "Dead", "Dead"},
		{State{Status: "exited", ExitCode: 137, FinishedAt: ago(48 * time.Hour)}, "Exited (137) 2 days ago", "Exited (137) 2 days ago"},
	} {
		d, _ := call(command.Docker)
		p, _ := call(command.Podman)
		if got := statusText(d, c.s); got != c.docker {
			t.Errorf("%+v: %q, want %q", c.s, got, c.docker)
		}
		if got := statusText(p, c.s); got != c.podman {
			t.Errorf("podman's %+v: %q, want %q", c.s, got, c.podman)
		}
	}
}

func TestPortText(t *testing.T) {
	s := &Summary{
		Ports: []PortBinding{
			{"tcp", 90, 9000, 1, "0.0.0.0"}, {"tcp", 91, 9001, 1, "0.0.0.0"}, {"tcp", 90, 9000, 1, "::"}, {"tcp", 91, 9001, 1, "::"},
			{"tcp", 80, 8080, 1, ""}, {"udp", 53, 53, 1, "127.0.0.1"}, {"tcp", 93, 9003, 2, "0.0.0.0"},
		},
		Exposed: []PortBinding{{"tcp", 100, 0, 1, ""}, {"tcp", 101, 0, 2, ""}},
	}
	want := "0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9001->90-91/tcp, 0.0.0.0:9003-9004->93-94/tcp, :::9000-9001->90-91/tcp, 127.0.0.1:53->53/udp, 100-102/tcp"
	if got := portText(s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPrintPorts(t *testing.T) {
	ports := []PortBinding{{"udp", 53, 53, 1, "127.0.0.1"}, {"tcp", 90, 9000, 2, "0.0.0.0"}, {"tcp", 90, 9000, 1, "::"}, {"tcp", 7, 0, 1, ""}}
	for wanted, want := range map[string]string{
		"":       "53/udp -> 127.0.0.1:53\n90/tcp -> 0.0.0.0:9000\n90/tcp -> :::9000\n91/tcp -> 0.0.0.0:9001\n",
		"90/tcp": "0.0.0.0:9000\n:::9000\n",
		"7/tcp":  "Error: No public port '7/tcp' published for n",
	} {
		c, out := call(command.Docker)
		got := ""
		if err := printPorts(c, "n", wanted, ports); err != nil {
			got = err.Error()
		}
		if got = out.String() + got; got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", wanted, got, want)
		}
	}
}

func TestStatsRows(t *testing.T) {
	v := new(Stats)
	c, out := call(command.Docker)
	err := v.print(c, []Reading{
		{ID: "bf2ee8b41f83bd58", Name: "c1", CPUPercent: 12.345, Memory: 5 << 20, MemoryLimit: 64 << 20, NetIn: 1500, NetOut: 20, Read: 1 << 20, Pids: 3},
		{ID: "200088eb659e3c58", Name: "gone", Gone: true},
	})
	want := `CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O     PIDS
bf2ee8b41f83   c1        12.35%    5MiB / 64MiB        7.81%     1.5kB / 20B   1.05MB / 0B   3
200088eb659e   gone      --        -- / --             --        -- / --       -- / --       --
`
	if err != nil || out.String() != want {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, out, want)
	}
}

func TestEventsAsDocker(t *testing.T) {
	ev := Event{
		Time: time.Date(2026, 11, 30, 15, 8, 19, 760871553, time.UTC), Type: "container", Action: "destroy", ID: "cc25",
		Attributes: map[string]string{"name": "youthful_matsumoto", "image": "img"},
	}
	for source, want := range map[string]string{
		"": ev.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00") + " container destroy cc25 (image=img, name=youthful_matsumoto)\n",
		"json": `{"status":"destroy","id":"cc25","from":"img","Type":"container","Action":"destroy","Actor":{"ID":"cc25","Attributes":` +
			`{"image":"img","name":"youthful_matsumoto"}},"scope":"local","time":1796051299,"timeNano":1796051299760871553}` + "\n",
		"{{.Type}} {{.Actor.Attributes.name}}": "container youthful_matsumoto\n",
	} {
		c, out := call(command.Docker)
		v := &Events{format: source}
		if err := v.print(c, ev); err != nil || out.String() != want {
			t.Errorf("%q: %v\ngot  %q\nwant %q", source, err, out, want)
		}
	}
}

func TestTop(t *testing.T) {
	c, out := call(command.Docker)
	_ = printTop(c, []string{"UID", "PID", "CMD"}, [][]string{{"root", "13205", "sleep\x1b 1000"}})
	want := "UID                 PID                 CMD\nroot                13205               sleep\\x1b 1000\n"
	if out.String() != want {
		t.Errorf("%q", out)
	}
}
