package images

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

// parse reads a command line as the frame does and gives the words.
func parse(t *testing.T, v command.Verb, words command.Count, line string) ([]string, error) {
	t.Helper()
	e := &command.Entry{Path: "verb", Words: words, New: func() command.Verb { return v }}
	got, help, err := e.Make().Parse(command.Berth, "berth verb", strings.Fields(line))
	if help {
		t.Fatalf("%s: asks for help", line)
	}
	return got, err
}

var anyWords = command.Count{Max: command.Many}

// request is the engine's request of a command line, or the error's text.
func request[V command.Verb, R any](t *testing.T, v V, line string, f func(V, []string) (R, error)) (R, string) {
	t.Helper()
	words, err := parse(t, v, anyWords, line)
	var r R
	if err == nil {
		r, err = f(v, words)
	}
	if err != nil {
		return r, err.Error()
	}
	return r, ""
}

func TestParsePull(t *testing.T) {
	t.Setenv("REGISTRY_AUTH_FILE", "")
	base := image.PullRequest{Name: "x", Policy: image.PullAlways}
	with := func(f func(*image.PullRequest)) engine.PullRequest {
		r := base
		f(&r)
		return engine.PullRequest{PullRequest: r}
	}
	for _, c := range []struct {
		line string
		want engine.PullRequest
		err  string
	}{
		{"x", with(func(*image.PullRequest) {}), ""},
		{"-q --disable-content-trust x", with(func(*image.PullRequest) {}), ""},
		{"--disable-content-trust=false x", engine.PullRequest{}, command.ErrContentTrust.Error()},
		{"-a x", with(func(r *image.PullRequest) { r.AllTags = true }), ""},
		{"-a x:y", engine.PullRequest{}, "tag can't be used with --all-tags/-a"},
		{"-a x@sha256:aa", engine.PullRequest{}, "tag can't be used with --all-tags/-a"},
		{"-a host:5000/x", with(func(r *image.PullRequest) { r.Name, r.AllTags = "host:5000/x", true }), ""},
		{"--platform linux/arm64 x", with(func(r *image.PullRequest) { r.Platform = "linux/arm64" }), ""},
		{"--arch arm --variant v7 x", with(func(r *image.PullRequest) { r.Platform = "linux/arm/v7" }), ""},
		{"--arch arm --platform linux/arm64 x", engine.PullRequest{}, "--platform option can not be specified with --arch or --os"},
		{"--policy newer x", with(func(r *image.PullRequest) { r.Policy = image.PullNewer }), ""},
		{"--policy often x", engine.PullRequest{}, `unsupported pull policy "often"`},
		{"--tls-verify=false x", with(func(r *image.PullRequest) { r.AnyTLS = true }), ""},
		{"--creds a:b:c x", with(func(r *image.PullRequest) { r.Auth = &image.Credential{Username: "a", Password: "b:c"} }), ""},
		{"--creds :c x", engine.PullRequest{}, "credentials can't be empty"},
		{"--retry 5 --retry-delay 2s x", with(func(r *image.PullRequest) { r.Retries, r.RetryDelay = 5, 2*time.Second }), ""},
		{"--nope x", engine.PullRequest{}, "unknown flag: --nope\nSee 'berth verb --help'."},
	} {
		got, err := request(t, new(Pull), c.line, func(v *Pull, w []string) (engine.PullRequest, error) { return v.request(w[0]) })
		if err != c.err || err == "" && !reflect.DeepEqual(got, c.want) {
			t.Errorf("pull %s:\ngot  %+v %q\nwant %+v %q", c.line, got, err, c.want, c.err)
		}
	}
	got, _ := request(t, new(Pull), "--authfile /f x", func(v *Pull, w []string) (engine.PullRequest, error) { return v.request(w[0]) })
	if got.AuthFile != "/f" {
		t.Errorf("--authfile: %+v", got)
	}
}

func TestParsePush(t *testing.T) {
	for _, c := range []struct {
		line string
		want image.PushRequest
		err  string
	}{
		{"x:1", image.PushRequest{Source: "x:1"}, ""},
		{"x r/y:2", image.PushRequest{Source: "x", Name: "r/y:2"}, ""},
		{"-a x", image.PushRequest{Source: "x", AllTags: true}, ""},
		{"-a x:1", image.PushRequest{}, "tag can't be used with --all-tags/-a"},
		{"-a x y", image.PushRequest{}, "a destination can't be used with --all-tags/-a"},
		{"--compression-format zstd --compression-level 7 --force-compression x", image.PushRequest{Source: "x", Compression: "zstd", Level: 7, Force: true}, ""},
		{"--compression-format rar x", image.PushRequest{}, `unknown compression format "rar"`},
		{"--platform linux/s390x --tls-verify=false x", image.PushRequest{Source: "x", Platform: "linux/s390x", Access: image.Access{AnyTLS: true}}, ""},
	} {
		got, err := request(t, new(Push), c.line, func(v *Push, w []string) (engine.PushRequest, error) { return v.request(w) })
		if err != c.err || err == "" && !reflect.DeepEqual(got.PushRequest, c.want) {
			t.Errorf("push %s:\ngot  %+v %q\nwant %+v %q", c.line, got.PushRequest, err, c.want, c.err)
		}
	}
}

func TestParseList(t *testing.T) {
	for _, c := range []struct {
		line string
		want image.ListOptions
		err  string
	}{
		{"", image.ListOptions{Filters: map[string][]string{}}, ""},
		{"-a -f dangling=true -f label=a=b x", image.ListOptions{All: true, Filters: map[string][]string{"dangling": {"true"}, "label": {"a=b"}, "reference": {"x"}}}, ""},
		{"-f label!=x", image.ListOptions{Filters: map[string][]string{"label!": {"x"}}}, ""},
		{"-f dangling", image.ListOptions{}, "invalid argument \"dangling\" for \"-f, --filter\" flag: bad format of filter (expected name=value)\nSee 'berth verb --help'."},
		{"--sort name", image.ListOptions{}, `"name" is not a valid field for sorting. Choose from: created, id, repository, size, tag`},
	} {
		got, err := request(t, new(List), c.line, func(v *List, w []string) (image.ListOptions, error) { return v.request(w) })
		if err != c.err || err == "" && !reflect.DeepEqual(got, c.want) {
			t.Errorf("images %s:\ngot  %+v %q\nwant %+v %q", c.line, got, err, c.want, c.err)
		}
	}
}

func TestParseArchives(t *testing.T) {
	for _, c := range []struct {
		line string
		want image.SaveOptions
		err  string
	}{
		{"-o f x", image.SaveOptions{Format: image.FormatDocker}, ""},
		{"--format oci-archive --platform linux/arm64 x", image.SaveOptions{Format: image.FormatOCI, Platform: "linux/arm64"}, ""},
		{"--format oci-dir --compress -o d x", image.SaveOptions{Format: image.FormatOCIDir, Dir: "d", Compress: true}, ""},
		{"--format docker-dir x", image.SaveOptions{}, "--format docker-dir needs --output: a folder can't be written to standard output"},
		{"--format zip x", image.SaveOptions{}, `unknown format "zip": want docker-archive, oci-archive, docker-dir or oci-dir`},
	} {
		got, err := request(t, new(Save), c.line, func(v *Save, _ []string) (image.SaveOptions, error) { return v.request() })
		if err != c.err || err == "" && !reflect.DeepEqual(got, c.want) {
			t.Errorf("save %s: %+v %q", c.line, got, err)
		}
	}
	load, _ := request(t, new(Load), "-q -i f --platform linux/arm64 n", func(v *Load, w []string) (engine.LoadRequest, error) { return v.request(w), nil })
	if load.Path != "f" || load.Platform != "linux/arm64" || load.Name != "n" {
		t.Errorf("load: %+v", load)
	}
	imp, err := request(t, new(Import), "-c CMD=x -c ENV -m hello --os linux --arch arm64 f.tar n:1", func(v *Import, w []string) (image.ImportOptions, error) { return v.request(w) })
	want := image.ImportOptions{Name: "n:1", Message: "hello", Changes: []string{"CMD=x", "ENV"}, Platform: "linux/arm64"}
	if err != "" || !reflect.DeepEqual(imp, want) {
		t.Errorf("import: %+v %q", imp, err)
	}
	if imp, _ := request(t, new(Import), "-", func(v *Import, w []string) (image.ImportOptions, error) { return v.request(w) }); imp.Message != "Imported from -" {
		t.Errorf("import -: %+v", imp)
	}
}

func TestParseOthers(t *testing.T) {
	for line, want := range map[string]string{
		"":     "image name or ID must be specified",
		"-a":   "",
		"-a x": "when using the --all switch, you may not pass any images names or IDs",
		"x y":  "",
	} {
		if _, err := request(t, new(Remove), line, func(v *Remove, w []string) (bool, error) { return true, v.check(w) }); err != want {
			t.Errorf("rmi %s: %q", line, err)
		}
	}
	for line, want := range map[string]string{
		"--type image x":  "",
		"--type foo x":    `"foo" is not a valid value for --type`,
		"-f {{.Id}} -s x": "",
	} {
		if _, err := request(t, &Inspect{Any: true}, line, func(v *Inspect, _ []string) (bool, error) { return true, v.check() }); err != want {
			t.Errorf("inspect %s: %q", line, err)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string][2]string{
		"x": {"x", ""}, "x:1": {"x", "1"}, "h:5/x": {"h:5/x", ""}, "h:5/x:2": {"h:5/x", "2"}, "x:1@sha256:aa": {"x", "1"},
	} {
		if r, tag := splitTag(in); r != want[0] || tag != want[1] {
			t.Errorf("%s: %q %q", in, r, tag)
		}
	}
	pod := &command.Call{Dialect: command.Podman}
	for in, want := range map[string]string{
		"x": "localhost/x", "a/b:1": "localhost/a/b:1", "localhost/x": "localhost/x", "q.io/x": "q.io/x", "h:5/x": "h:5/x", "": "",
	} {
		if got := ownName(pod, in); got != want {
			t.Errorf("podman's own name of %q: %q", in, got)
		}
	}
	if got := ownName(&command.Call{}, "x"); got != "x" {
		t.Errorf("docker's own name of x: %q", got)
	}
}

func TestTransport(t *testing.T) {
	for _, c := range []struct {
		word     string
		d        command.Dialect
		registry string
		at       *place
		err      string
	}{
		{"docker://q.io/x:1", command.Podman, "q.io/x:1", nil, ""},
		{"docker://q.io/x:1", command.Docker, "docker://q.io/x:1", nil, ""},
		{"q.io:5000/x", command.Podman, "q.io:5000/x", nil, ""},
		{"x:1", command.Podman, "x:1", nil, ""},
		{"docker-archive:/a.tar", command.Berth, "", &place{image.FormatDocker, "/a.tar", ""}, ""},
		{"docker-archive:/a.tar:q.io/x:1", command.Podman, "", &place{image.FormatDocker, "/a.tar", "q.io/x:1"}, ""},
		{"oci-archive:a.tar:@1", command.Podman, "", &place{image.FormatOCI, "a.tar", "@1"}, ""},
		{"oci:dir:word", command.Podman, "", &place{image.FormatOCIDir, "dir", "word"}, ""},
		{"dir:a:b", command.Podman, "", &place{image.FormatDockerDir, "a:b", ""}, ""},
		{"oci:", command.Podman, "", nil, "a path is missing"},
		{"docker-daemon:x", command.Podman, "", nil, "import-from docker"},
		{"docker-archive:/a.tar", command.Docker, "docker-archive:/a.tar", nil, ""},
	} {
		call, _, _ := call(c.d)
		registry, at, err := transport(call, c.word)
		if registry != c.registry || !reflect.DeepEqual(at, c.at) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q %+v %v", c.word, registry, at, err)
		}
	}
}
