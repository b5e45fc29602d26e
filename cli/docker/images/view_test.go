package images

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
	"berth/settings"
)

// names stands for the store where only names are asked for.
type fixedNames struct{ engine.Images }

func (fixedNames) Name(typed string) (string, error) {
	if strings.ToLower(typed) != typed {
		return "", errors.New("invalid reference format: repository name must be lowercase")
	}
	if !hasTag(typed) {
		typed += ":latest"
	}
	if !strings.Contains(typed, "/") {
		typed = "docker.io/library/" + typed
	}
	return typed, nil
}
func (fixedNames) Familiar(s string) string { return strings.TrimPrefix(s, "docker.io/library/") }

const (
	one = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	two = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

func call(d command.Dialect) (*command.Call, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return &command.Call{Dialect: d, Out: &out, Err: &errs, Now: func() time.Time { return now }, Settings: &settings.Settings{}}, &out, &errs
}

func pulling(t *testing.T, d command.Dialect, line string, steps []image.Progress, pulled []image.Pulled) (string, string) {
	t.Helper()
	c, out, errs := call(d)
	v := new(Pull)
	words, err := parse(t, v, anyWords, line)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.request(words[0])
	if err != nil {
		t.Fatal(err)
	}
	e := &engine.Engine{Images: fixedNames{}}
	view := newPullView(c, e, r, v.quiet)
	if err := view.begin(); err != nil {
		t.Fatal(err)
	}
	name, _ := e.Images.Name(r.Name)
	view.named(name)
	for _, p := range steps {
		view.progress(p)
	}
	view.end(pulled)
	return out.String(), errs.String()
}

func TestPullIsDockers(t *testing.T) {
	id := image.Image{ID: two}
	fresh := []image.Pulled{{Name: "docker.io/library/x:latest", Digest: one, New: true, Image: id}}
	steps := []image.Progress{
		{Digest: one, Step: image.StepExists},
		{Digest: two, Step: image.StepWaiting, Total: 100},
		{Digest: two, Step: image.StepDownloading, Current: 50, Total: 100},
		{Digest: two, Step: image.StepDownloaded},
		{Digest: two, Step: image.StepExtracting},
		{Digest: two, Step: image.StepPulled},
	}
	for _, c := range []struct {
		name, line string
		d          command.Dialect
		steps      []image.Progress
		pulled     []image.Pulled
		out, errs  string
	}{
		{"new", "x", command.Docker, steps, fresh, `Using default tag: latest
latest: Pulling from library/x
111111111111: Already exists
222222222222: Pulling fs layer
222222222222: Download complete
222222222222: Pull complete
Digest: ` + string(one) + `
Status: Downloaded newer image for x:latest
docker.io/library/x:latest
`, ""},
		{"up to date", "x:latest", command.Docker, steps[:1], []image.Pulled{{Name: "docker.io/library/x:latest", Digest: one}}, `latest: Pulling from library/x
Digest: ` + string(one) + `
Status: Image is up to date for x:latest
docker.io/library/x:latest
`, ""},
		{"quiet", "-q x", command.Docker, steps, fresh, "docker.io/library/x:latest\n", ""},
		{"podman", "x", command.Podman, steps[1:], fresh, hexOf(two) + "\n", `Trying to pull docker.io/library/x:latest...
Getting image source signatures
Copying blob ` + string(two) + `
Copying config ` + string(two) + `
Writing manifest to image destination
Storing signatures
`},
		{"podman quiet", "-q x", command.Podman, steps, fresh, hexOf(two) + "\n", ""},
		{
			"hostile", "x:latest", command.Docker, []image.Progress{{Step: image.StepRetrying, Detail: "\x1b]0;title\x07"}}, fresh,
			`latest: Pulling from library/x
Retrying: trying again: \x1b]0;title\x07
Digest: ` + string(one) + `
Status: Downloaded newer image for x:latest
docker.io/library/x:latest
`, "",
		},
	} {
		if out, errs := pulling(t, c.d, c.line, c.steps, c.pulled); out != c.out || errs != c.errs {
			t.Errorf("%s:\nout %s\nerr %s", c.name, out, errs)
		}
	}
}

func TestPullAllTags(t *testing.T) {
	steps := []image.Progress{{Ref: "a", Digest: one, Step: image.StepWaiting}, {Ref: "a", Digest: one, Step: image.StepPulled}, {Ref: "b", Digest: one, Step: image.StepExists}}
	pulled := []image.Pulled{{Name: "docker.io/library/x:a", Digest: one, New: true}, {Name: "docker.io/library/x:b", Digest: two}}
	out, _ := pulling(t, command.Docker, "-a x", steps, pulled)
	for _, want := range []string{
		"a: Pulling from library/x\n111111111111: Pulling fs layer\n", "b: Pulling from library/x\n",
		"Status: Downloaded newer image for x\ndocker.io/library/x\n",
	} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is not there once in\n%s", want, out)
		}
	}
}

func TestRefusedNameSaysNothingElse(t *testing.T) {
	c, out, _ := call(command.Docker)
	view := newPullView(c, &engine.Engine{Images: fixedNames{}}, engine.PullRequest{PullRequest: image.PullRequest{Name: "BAD"}}, false)
	if err := view.begin(); err == nil || out.Len() > 0 {
		t.Errorf("%v %q", err, out)
	}
}

func sample() []image.Image {
	at := func(h int) time.Time { return time.Date(2026, 11, 22, h, 0, 0, 0, time.UTC) }
	return []image.Image{
		{ID: one, Created: at(9), Size: 1982256, Names: []string{"docker.io/library/a:1", "docker.io/library/a:2"}, Digests: []string{"docker.io/library/a@" + string(two)}},
		{ID: two, Created: at(11), Size: 5, Digests: []string{"q.io/b@" + string(one)}},
		{ID: one, Created: at(10), Size: 0},
	}
}

func TestListTable(t *testing.T) {
	for _, c := range []struct {
		line string
		d    command.Dialect
		want string
	}{
		{"", command.Docker, `REPOSITORY   TAG       IMAGE ID       CREATED             SIZE
q.io/b       <none>    222222222222   About an hour ago   5B
<none>       <none>    111111111111   2 hours ago         0B
a            1         111111111111   3 hours ago         1.98MB
a            2         111111111111   3 hours ago         1.98MB
`},
		{"", command.Podman, `REPOSITORY  TAG         IMAGE ID      CREATED            SIZE
q.io/b      <none>      222222222222  About an hour ago  5 B
<none>      <none>      111111111111  2 hours ago        0 B
a           1           111111111111  3 hours ago        1.98 MB
a           2           111111111111  3 hours ago        1.98 MB
`},
		{"--digests --format {{.Repository}}:{{.Tag}}@{{.Digest}}", command.Docker, "q.io/b:<none>@" + string(one) + "\n<none>:<none>@<none>\na:1@" + string(two) + "\na:2@" + string(two) + "\n"},
		{"-q", command.Docker, "222222222222\n111111111111\n111111111111\n111111111111\n"},
		{"-q --no-trunc", command.Podman, string(two) + "\n" + string(one) + "\n"},
		{"--sort size --format {{.Size}}", command.Berth, "0B\n5B\n1.98MB\n1.98MB\n"},
	} {
		call, out, _ := call(c.d)
		call.Open = func() (*engine.Engine, error) { return &engine.Engine{Images: listed{}}, nil }
		v := new(List)
		words, err := parse(t, v, anyWords, c.line)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Run(context.Background(), call, words); err != nil || out.String() != c.want {
			t.Errorf("images %s: %v\ngot\n%swant\n%s", c.line, err, out, c.want)
		}
	}
}

// listed is a store of the sample.
type listed struct{ fixedNames }

func (listed) List(context.Context, image.ListOptions) ([]image.Image, error) { return sample(), nil }

func TestListFormatOfTheUser(t *testing.T) {
	c, out, _ := call(command.Docker)
	c.Settings.Client.ImagesFormat = "{{.ID}}"
	c.Open = func() (*engine.Engine, error) { return &engine.Engine{Images: listed{}}, nil }
	v := new(List)
	if _, err := parse(t, v, anyWords, ""); err != nil {
		t.Fatal(err)
	}
	if err := v.Run(context.Background(), c, nil); err != nil || first(out.String()) != "222222222222" {
		t.Errorf("%v %q", err, out)
	}
}

func first(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func TestHistoryRow(t *testing.T) {
	c, _, _ := call(command.Docker)
	v := &History{human: true}
	l := image.Layer{ID: one, Created: c.Now().Add(-time.Hour), CreatedBy: "/bin/sh -c #(nop)\tADD \x1b[31m" + strings.Repeat("x", 60), Size: 1000}
	r := v.row(c, l)
	if r.ID != "111111111111" || r.Size != "1kB" || len([]rune(r.CreatedBy)) != 45 || !strings.HasSuffix(r.CreatedBy, "…") || strings.ContainsAny(r.CreatedBy, "\x1b\t") {
		t.Errorf("%+v", r)
	}
	v = &History{noTrunc: true}
	l.ID = ""
	if r := v.row(c, l); r.ID != "<missing>" || r.Size != "1000" || r.CreatedSince != "2026-11-22T11:00:00Z" || strings.HasSuffix(r.CreatedBy, "…") {
		t.Errorf("%+v", r)
	}
}
