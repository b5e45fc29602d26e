package system

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
	"berth/settings"
)

// store stands for an image store with fixed answers.
type store struct {
	engine.Images
	usage    image.Usage
	findings []image.Finding
}

func (s store) Familiar(n string) string { return strings.TrimPrefix(n, "docker.io/library/") }
func (s store) Usage(context.Context, func(digest.Digest) []image.InUse) (image.Usage, error) {
	return s.usage, nil
}
func (s store) Check(_ context.Context, repair bool) ([]image.Finding, error) {
	out := append([]image.Finding(nil), s.findings...)
	for i := range out {
		if repair && out[i].Object != "hopeless" {
			out[i].Repaired = "removed"
		}
	}
	return out, nil
}

func run(t *testing.T, d command.Dialect, v command.Verb, s store, line string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := &command.Call{
		Dialect: d, In: strings.NewReader(""), Out: &out, Err: &out, Settings: &settings.Settings{}, Now: func() time.Time { return now },
		Open: func() (*engine.Engine, error) { return &engine.Engine{Images: s}, nil },
	}
	e := &command.Entry{Path: "verb", Words: command.Count{Max: command.Many}, New: func() command.Verb { return v }}
	words, _, err := e.Make().Parse(d, "docker verb", strings.Fields(line))
	if err == nil {
		err = v.Run(context.Background(), c, words)
	}
	return out.String(), command.Report(&out, d, err)
}

func usage() image.Usage {
	img := image.Image{
		ID: digest.Digest("sha256:" + strings.Repeat("a", 64)), Names: []string{"docker.io/library/x:1"}, Size: 1982256,
		Created: time.Date(2026, 11, 22, 11, 59, 0, 0, time.UTC),
	}
	return image.Usage{
		Images: []image.ImageUsage{{Image: img, Unique: 1982256, Containers: 1}, {Image: image.Image{ID: img.ID}}},
		Size:   2000000, Reclaimable: 500000,
	}
}

func TestDiskUsage(t *testing.T) {
	for _, c := range []struct {
		d          command.Dialect
		line, want string
	}{
		{command.Docker, "", `TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          2         1         2MB       500kB (25%)
Containers      0         0         0B        0B
Local Volumes   0         0         0B        0B
Build Cache     0         0         0B        0B
`},
		{command.Podman, "", `TYPE           TOTAL       ACTIVE      SIZE        RECLAIMABLE
Images         2           1           2MB         500kB (25%)
Containers     0           0           0B          0B (0%)
Local Volumes  0           0           0B          0B (0%)
`},
		{command.Docker, "--format {{.Type}}={{.TotalCount}}", "Images=2\nContainers=0\nLocal Volumes=0\nBuild Cache=0\n"},
	} {
		if out, code := run(t, c.d, new(DiskUsage), store{usage: usage()}, c.line); out != c.want || code != 0 {
			t.Errorf("df %s: exit %d\n%s", c.line, code, out)
		}
	}
	out, _ := run(t, command.Docker, new(DiskUsage), store{usage: usage()}, "--format json")
	if first, _, _ := strings.Cut(out, "\n"); first != `{"Active":"1","Reclaimable":"500kB (25%)","Size":"2MB","TotalCount":"2","Type":"Images"}` {
		t.Errorf("JSON: %s", first)
	}
	out, code := run(t, command.Docker, new(DiskUsage), store{usage: usage()}, "-v")
	for _, want := range []string{
		"REPOSITORY   TAG       IMAGE ID       CREATED              SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n",
		"x            1         aaaaaaaaaaaa   About a minute ago   1.982MB   0B            1.982MB       1\n",
		"Build cache usage: 0B\n",
	} {
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("df -v has no %q:\n%s", want, out)
		}
	}
}

func TestCheck(t *testing.T) {
	bad := []image.Finding{{Object: "blob sha256:aa", Trouble: "wrong size \x1b[1m", Harm: true}}
	for _, c := range []struct {
		findings []image.Finding
		line     string
		want     string
		code     int
	}{
		{nil, "", "The store is whole.\n", 0},
		{nil, "-q", "", 0},
		{bad, "", "blob sha256:aa: wrong size \\x1b[1m\n", 1},
		{bad, "--repair", "blob sha256:aa: wrong size \\x1b[1m (mended: removed)\n", 0},
		{[]image.Finding{{Object: "hopeless", Trouble: "gone", Harm: true}}, "--repair", "hopeless: gone\n", 1},
		{[]image.Finding{{Object: "blob x", Trouble: "nothing leads to it"}}, "", "blob x: nothing leads to it (left over: a prune takes it)\n", 0},
	} {
		if out, code := run(t, command.Berth, new(Check), store{findings: c.findings}, c.line); out != c.want || code != c.code {
			t.Errorf("check %s: exit %d %q", c.line, code, out)
		}
	}
}

func TestVersionWords(t *testing.T) {
	for d, want := range map[command.Dialect]string{
		command.Docker: "Docker version 20.10.24, build berth-0.1.0", command.Podman: "podman version 4.3.1", command.Berth: "b version 0.1.0",
	} {
		if got := Words(d, "b"); got != want {
			t.Errorf("%d: %q", d, got)
		}
	}
	out, code := run(t, command.Docker, new(ShowVersion), store{}, "")
	if code != 0 || !strings.HasPrefix(out, "Client: berth 0.1.0\n Version:           20.10.24\n") {
		t.Errorf("version: %s", out)
	}
}
