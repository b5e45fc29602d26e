package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/base/fault"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func TestLookup(t *testing.T) {
	path := write(t, fmt.Sprintf(`{"auths": {
		"https://index.docker.io/v1/": {"auth": %q},
		"r.example:5000": {"auth": %q},
		"r.example:5000/team": {"auth": %q},
		"r.example:5000/team/app": {"auth": %q, "identitytoken": "idt"},
		"https://old.example/v1/": {"username": "o", "password": "p"},
		"token.example": {"registrytoken": "rt"},
		"empty.example": {},
		"bad.example": {"auth": "%%%%"},
		"worse.example": {"auth": "eA=="}
	}}`, auth("hub", "a:b"), auth("host", "1"), auth("team", "2"), auth("app", "3")))
	k := New(Options{Files: []string{filepath.Join(t.TempDir(), "none.json"), path}})
	for _, c := range []struct {
		registry, repository string
		want                 Credential
	}{
		{"docker.io", "library/alpine", Credential{Username: "hub", Password: "a:b"}},
		{"r.example:5000", "x", Credential{Username: "host", Password: "1"}},
		{"r.example:5000", "team/x/y", Credential{Username: "team", Password: "2"}},
		{"r.example:5000", "teammate", Credential{Username: "host", Password: "1"}},
		{"r.example:5000", "team/app", Credential{Username: "app", Password: "3", IdentityToken: "idt"}},
		{"old.example", "x", Credential{Username: "o", Password: "p"}},
		{"token.example", "", Credential{RegistryToken: "rt"}},
		{"empty.example", "", Credential{}},
		{"r.example", "x", Credential{}},
		{"r.example:443", "x", Credential{}},
	} {
		got, err := k.Lookup(t.Context(), c.registry, c.repository)
		if err != nil || got != c.want {
			t.Errorf("%s/%s: %+v %v, want %+v", c.registry, c.repository, got, err, c.want)
		}
	}
	for _, name := range []string{"bad.example", "worse.example"} {
		_, err := k.Lookup(t.Context(), name, "x")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want the file and the key", name, err)
		}
	}
}

func TestFirstFileWins(t *testing.T) {
	first := write(t, fmt.Sprintf(`{"auths":{"a.example":{"auth":%q}}}`, auth("one", "1")))
	second := write(t, fmt.Sprintf(`{"auths":{"a.example/ns":{"auth":%q},"b.example":{"auth":%q}}}`, auth("two", "2"), auth("three", "3")))
	k := New(Options{Files: []string{first, second}})
	for registry, want := range map[string]string{"a.example": "one", "b.example": "three"} {
		if c, err := k.Lookup(t.Context(), registry, "ns"); err != nil || c.Username != want {
			t.Errorf("%s: %+v %v, want %s", registry, c, err, want)
		}
	}
}

func TestSaveKeepsTheRest(t *testing.T) {
	path := write(t, `{"psFormat":"table <b>","auths":{"x.example":{"auth":"eDp5","email":"e@x"},"https://y.example/v1/":{"auth":"eDp5"}},"HttpHeaders":{"A":1.0}}`)
	k := New(Options{Files: []string{path}})
	where, err := k.Save(t.Context(), "y.example", Credential{Username: "u", Password: "p"})
	if err != nil || where != path {
		t.Fatalf("save: %q %v", where, err)
	}
	if _, err := k.Save(t.Context(), "docker.io", Credential{Username: "h", Password: "p", IdentityToken: "idt"}); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	got, _ := os.ReadFile(path)
	want := `{
	"HttpHeaders": {
		"A": 1.0
	},
	"auths": {
		"https://index.docker.io/v1/": {
			"auth": "aDo=",
			"identitytoken": "idt"
		},
		"x.example": {
			"auth": "eDp5",
			"email": "e@x"
		},
		"y.example": {
			"auth": "dTpw"
		}
	},
	"psFormat": "table <b>"
}
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
	keys, err := k.Keys()
	if err != nil || fmt.Sprint(keys) != "[docker.io x.example y.example]" {
		t.Errorf("keys: %v %v", keys, err)
	}
	if err := k.Erase(t.Context(), "docker.io"); err != nil {
		t.Error(err)
	}
	if err := k.Erase(t.Context(), "docker.io"); !fault.Is(err, fault.NotFound) {
		t.Errorf("second logout: %v", err)
	}
	if c, _ := k.Lookup(t.Context(), "docker.io", ""); !c.Empty() {
		t.Errorf("after logout: %+v", c)
	}
}

func TestSaveFollowsALinkAndMakesTheFolder(t *testing.T) {
	dir := t.TempDir()
	real := write(t, "{}")
	link := filepath.Join(dir, "config.json")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, filepath.Join(dir, "new/deep/auth.json")} {
		k := New(Options{Files: []string{path}})
		if _, err := k.Save(t.Context(), "a.example/ns", Credential{Username: "u", Password: "p"}); err != nil {
			t.Fatal(err)
		}
		if c, err := k.Lookup(t.Context(), "a.example", "ns/x"); err != nil || c.Username != "u" {
			t.Errorf("%s: %+v %v", path, c, err)
		}
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if info, _ := os.Stat(filepath.Join(dir, "new")); info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v", info.Mode())
	}
}

func TestSavesAtOnceKeepAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := New(Options{Files: []string{path}}).Save(t.Context(), fmt.Sprintf("r%d.example", i), Credential{Username: "u", Password: "p"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if keys, err := New(Options{Files: []string{path}}).Keys(); err != nil || len(keys) != 20 {
		t.Errorf("%d of 20 entries: %v", len(keys), err)
	}
}

func TestMalformed(t *testing.T) {
	for text, want := range map[string]string{
		"{":                            "unexpected end",
		"[]":                           "cannot unmarshal",
		`{"auths":[]}`:                 "key auths",
		`{"auths":{"a":3}}`:            `key auths."a"`,
		`{"credHelpers":{"a":3}}`:      "key credHelpers",
		`{"credsStore":{}}`:            "key credsStore",
		strings.Repeat(" ", maxFile+1): "larger than",
	} {
		path := write(t, text)
		k := New(Options{Files: []string{path}})
		if _, err := k.Lookup(t.Context(), "a", ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if _, err := k.Save(t.Context(), "a", Credential{Username: "u"}); err == nil {
			t.Errorf("%.40q: overwritten", text)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%.40q: changed", text)
		}
	}
	k := New(Options{Files: []string{write(t, "null")}})
	for _, bad := range []Credential{{Username: "a:b"}, {Username: "u", Password: "x\ny"}} {
		if _, err := k.Save(t.Context(), "a", bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// helper is a credential program as a shell script over a folder.
const helper = `#!/bin/sh
d=$(dirname "$0")/kept
mkdir -p "$d"
case $1 in
store) cat > "$d/entry" ;;
get) read -r url; if [ "$url" = flood ]; then exec yes; fi
  if [ "$url" = broken ]; then echo "keyring locked" >&2; exit 1; fi
  if grep -qF "\"$url\"" "$d/entry" 2>/dev/null; then cat "$d/entry"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$d/entry" ;;
esac
`

func TestPrograms(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(bin+"/docker-credential-mine", []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	path := write(t, fmt.Sprintf(`{"credHelpers":{"h.example":"mine","flood":"mine","broken":"mine","lost":"nowhere","evil":"../x"},"auths":{"f.example":{"auth":%q}}}`, auth("f", "p")))
	k := New(Options{Files: []string{path}})
	if c, err := k.Lookup(t.Context(), "h.example", "x"); err != nil || !c.Empty() {
		t.Errorf("nothing kept yet: %+v %v", c, err)
	}
	for _, want := range []Credential{{Username: "u", Password: "s"}, {IdentityToken: "idt"}} {
		where, err := k.Save(t.Context(), "h.example", want)
		if err != nil || where != "docker-credential-mine" {
			t.Fatalf("save: %q %v", where, err)
		}
		if c, err := k.Lookup(t.Context(), "h.example", "x"); err != nil || c != want {
			t.Errorf("%+v %v, want %+v", c, err, want)
		}
	}
	if b, _ := os.ReadFile(path); bytes.Contains(b, []byte("idt")) || !bytes.Contains(b, []byte(`"h.example": {}`)) {
		t.Errorf("the file keeps the secret or no mark: %s", b)
	}
	if err := k.Erase(t.Context(), "h.example"); err != nil {
		t.Error(err)
	}
	if c, err := k.Lookup(t.Context(), "h.example", ""); err != nil || !c.Empty() {
		t.Errorf("after logout: %+v %v", c, err)
	}
	for name, want := range map[string]string{"broken": "keyring locked", "lost": "docker-credential-nowhere: not found", "evil": "not a name", "flood": "too much"} {
		if _, err := k.Lookup(t.Context(), name, ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	store := New(Options{Files: []string{write(t, `{"credsStore":"mine"}`)}})
	if _, err := store.Save(t.Context(), "docker.io", Credential{Username: "hub", Password: "p"}); err != nil {
		t.Fatal(err)
	}
	if c, err := store.Lookup(t.Context(), "docker.io", "library/x"); err != nil || c.Username != "hub" {
		t.Errorf("credsStore: %+v %v", c, err)
	}
}

func TestDialects(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, c := range []struct {
		got  []string
		want string
	}{
		{DockerFiles(env(map[string]string{"HOME": "/h"})), "[/h/.docker/config.json]"},
		{DockerFiles(env(map[string]string{"HOME": "/h", "DOCKER_CONFIG": "/c"})), "[/c/config.json]"},
		{PodmanFiles(env(map[string]string{"HOME": "/h"}), 0), "[/run/containers/0/auth.json /h/.config/containers/auth.json /h/.docker/config.json]"},
		{PodmanFiles(env(map[string]string{"XDG_RUNTIME_DIR": "/run/user/1", "XDG_CONFIG_HOME": "/c"}), 1), "[/run/user/1/containers/auth.json /c/containers/auth.json]"},
		{PodmanFiles(env(map[string]string{"REGISTRY_AUTH_FILE": "/a"}), 1), "[/a]"},
	} {
		if fmt.Sprint(c.got) != c.want {
			t.Errorf("%v, want %s", c.got, c.want)
		}
	}
}

func FuzzAuthFile(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"a/b":{}},"credsStore":"x"}`), "a", "b/c")
	f.Add([]byte(`{"auths":null,"credHelpers":{"a":"b"}}`), "docker.io", "")
	f.Fuzz(func(t *testing.T, data []byte, registry, repository string) {
		parsed, err := parse("f", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		before := len(parsed.whole)
		parsed.CredHelpers, parsed.CredsStore = nil, ""
		_, _ = New(Options{}).inFile(t.Context(), parsed, registry, repository)
		if err := parsed.put("new.example", Credential{Username: "u", Password: "p"}); err != nil {
			t.Fatal(err)
		}
		out, err := parsed.encode()
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(out, &whole); err != nil || len(whole) < before {
			t.Fatalf("%d keys of %d: %v", len(whole), before, err)
		}
		again, err := parse("f", out)
		if err != nil {
			t.Fatalf("our own file: %v", err)
		}
		if c, err := again.Auths["new.example"].credential(); err != nil || c.Username != "u" || c.Password != "p" {
			t.Errorf("read back %+v %v", c, err)
		}
	})
}
