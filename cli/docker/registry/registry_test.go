package registry

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
	"berth/settings"
)

// kept stands for registries and the file of credentials.
type kept struct {
	known image.Credential
	got   *engine.LoginRequest
	found []image.Found
}

func (k kept) Search(context.Context, string, int, map[string][]string, image.Access) ([]image.Found, error) {
	return k.found, nil
}
func (k kept) Tags(context.Context, string, image.Access) ([]string, error) { return nil, nil }
func (k kept) Login(_ context.Context, registry string, c image.Credential, a image.Access) (string, error) {
	*k.got = engine.LoginRequest{Registry: registry, Credential: c, Access: a}
	if c.Password == "bad" {
		return "", fault.New(fault.Permission, "login attempt to %s failed with status: 401 Unauthorized", registry)
	}
	return "/home/u/\x1b[1mauth.json", nil
}
func (k kept) Logout(context.Context, string, string, bool) error {
	if k.known.Username == "" {
		return fault.New(fault.NotFound, "not logged in")
	}
	return nil
}
func (k kept) LoggedIn(context.Context, string, string) (image.Credential, error) {
	if k.known.Username == "" {
		return k.known, fault.New(fault.NotFound, "not logged in")
	}
	return k.known, nil
}

// run types one line at a verb.
func run(t *testing.T, d command.Dialect, v command.Verb, k kept, stdin, line string) (string, string, int, engine.LoginRequest) {
	t.Helper()
	t.Setenv("REGISTRY_AUTH_FILE", "")
	var out, errs bytes.Buffer
	var got engine.LoginRequest
	k.got = &got
	c := &command.Call{
		Dialect: d, In: strings.NewReader(stdin), Out: &out, Err: &errs, Settings: &settings.Settings{ClientDir: "/home/u/.docker"},
		Open: func() (*engine.Engine, error) { return &engine.Engine{Registries: k}, nil },
	}
	e := &command.Entry{Path: "login", Words: command.Count{Max: 1}, New: func() command.Verb { return v }}
	words, _, err := e.Make().Parse(d, "docker login", strings.Fields(line))
	if err == nil {
		err = v.Run(context.Background(), c, words)
	}
	code := command.Report(&errs, d, err)
	return out.String(), errs.String(), code, got
}

const unencrypted = "WARNING! Your password will be stored unencrypted in /home/u/.docker/config.json.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/engine/reference/commandline/login/#credentials-store\n\n"

func TestLogin(t *testing.T) {
	cred := func(u, p string) image.Credential { return image.Credential{Username: u, Password: p} }
	for _, c := range []struct {
		d           command.Dialect
		line, stdin string
		known       image.Credential
		out, errs   string
		code        int
		registry    string
		sent        image.Credential
	}{
		{command.Docker, "-u a --password-stdin h:5000", "secret\n", image.Credential{}, "Login Succeeded\n", unencrypted, 0, "h:5000", cred("a", "secret")},
		{command.Docker, "-u a -p b https://h:5000/", "", image.Credential{}, "Login Succeeded\n", "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n" + unencrypted, 0, "h:5000", cred("a", "b")},
		{command.Docker, "-u a --password-stdin", "s\r\n", image.Credential{}, "Login Succeeded\n", unencrypted, 0, "docker.io", cred("a", "s")},
		{command.Docker, "-u a --password-stdin h", "bad", image.Credential{}, "", "Error response from daemon: login attempt to h failed with status: 401 Unauthorized\n", 1, "h", cred("a", "bad")},
		{command.Docker, "-u a h", "", image.Credential{}, "", "Error: Cannot perform an interactive login from a non TTY device\n", 1, "", image.Credential{}},
		{command.Docker, "h", "", cred("k", "p"), "Authenticating with existing credentials...\nLogin Succeeded\n", "", 0, "h", cred("k", "p")},
		{command.Podman, "-u a -p b h", "", image.Credential{}, "Login Succeeded!\n", "", 0, "h", cred("a", "b")},
		{command.Podman, "-v -u a -p b h", "", image.Credential{}, "Used: /home/u/\\x1b[1mauth.json\nLogin Succeeded!\n", "", 0, "h", cred("a", "b")},
		{command.Podman, "-u a -p bad h", "", image.Credential{}, "", "Error: logging into \"h\": login attempt to h failed with status: 401 Unauthorized\n", 125, "h", cred("a", "bad")},
		{command.Podman, "--get-login h", "", cred("k", "p"), "k\n", "", 0, "", image.Credential{}},
		{command.Podman, "--get-login h", "", image.Credential{}, "", "Error: not logged into h\n", 125, "", image.Credential{}},
		{command.Podman, "", "", image.Credential{}, "", "Error: no registries found in registries.conf, a registry must be provided\n", 125, "", image.Credential{}},
	} {
		out, errs, code, got := run(t, c.d, new(Login), kept{known: c.known}, c.stdin, c.line)
		if out != c.out || errs != c.errs || code != c.code || got.Registry != c.registry || got.Credential != c.sent {
			t.Errorf("%d login %s: exit %d\nout %q\nerr %q\nsent %+v", c.d, c.line, code, out, errs, got)
		}
	}
}

func TestLogout(t *testing.T) {
	in := kept{known: image.Credential{Username: "x"}}
	for _, c := range []struct {
		d         command.Dialect
		k         kept
		line      string
		out, errs string
		code      int
	}{
		{command.Docker, in, "h", "Removing login credentials for h\n", "", 0},
		{command.Docker, kept{}, "h", "Removing login credentials for h\n", "", 0},
		{command.Docker, in, "", "Removing login credentials for https://index.docker.io/v1/\n", "", 0},
		{command.Podman, in, "h", "Removed login credentials for h\n", "", 0},
		{command.Podman, in, "-a", "Removed login credentials for all registries\n", "", 0},
		{command.Podman, kept{}, "h", "", "Error: not logged into h\n", 125},
		{command.Podman, in, "-a h", "", "Error: --all takes no arguments\n", 125},
	} {
		if out, errs, code, _ := run(t, c.d, new(Logout), c.k, "", c.line); out != c.out || errs != c.errs || code != c.code {
			t.Errorf("%d logout %s: exit %d\nout %q\nerr %q", c.d, c.line, code, out, errs)
		}
	}
}

func TestSearch(t *testing.T) {
	k := kept{found: []image.Found{
		{Index: "docker.io", Name: "ubuntu", Description: "Ubuntu is a Debian-based Linux operating system based on free software.", Stars: 16000, Official: true},
		{Index: "docker.io", Name: "evil\x1b[2J/ubuntu", Description: "a\nb", Automated: true},
	}}
	docker := `NAME                DESCRIPTION                                     STARS     OFFICIAL   AUTOMATED
ubuntu              Ubuntu is a Debian-based Linux operating sys…   16000     [OK]       
evil\x1b[2J/ubuntu  a b                                             0                    [OK]
`
	docker = strings.ReplaceAll(docker, `evil\x1b[2J/ubuntu  a`, `evil\x1b[2J/ubuntu   a`)
	docker = strings.ReplaceAll(docker, "NAME                DESC", "NAME                 DESC")
	docker = strings.ReplaceAll(docker, "ubuntu              Ubu", "ubuntu               Ubu")
	for _, c := range []struct {
		d    command.Dialect
		line string
		want string
	}{
		{command.Docker, "ubuntu", docker},
		{command.Docker, "--format {{.Name}}:{{.StarCount}}:{{.IsOfficial}} ubuntu", "ubuntu:16000:[OK]\nevil\\x1b[2J/ubuntu:0:\n"},
		{command.Podman, "--no-trunc --format {{.Index}}|{{.Name}}|{{.Stars}} ubuntu", "docker.io|docker.io/ubuntu|16000\ndocker.io|docker.io/evil\\x1b[2J/ubuntu|0\n"},
	} {
		if out, errs, code, _ := run(t, c.d, new(Search), k, "", c.line); out != c.want || code != 0 {
			t.Errorf("search %s: exit %d %s\ngot\n%swant\n%s", c.line, code, errs, out, c.want)
		}
	}
	for limit, want := range map[int]string{0: "Limit 0 is outside the range of [1, 100]", 101: "Limit 101 is outside the range of [1, 100]"} {
		_, errs, code, _ := run(t, command.Docker, new(Search), k, "", fmt.Sprintf("--limit %d x", limit))
		if limit != 0 && (code != 1 || errs != "Error response from daemon: "+want+"\n") {
			t.Errorf("--limit %d: exit %d %q", limit, code, errs)
		}
	}
}
