package ref

import (
	_ "crypto/sha512" // the oracle takes only algorithms that are linked
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"berth/base/fault"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "aaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestDocker(t *testing.T) {
	for _, c := range []struct{ in, full, familiar string }{
		{"alpine", "docker.io/library/alpine", "alpine"},
		{"alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"},
		{"corp/app", "docker.io/corp/app", "corp/app"},
		{"docker.io/alpine", "docker.io/library/alpine", "alpine"},
		{"index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"},
		{"docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"},
		{"localhost/app:1", "localhost/app:1", "localhost/app:1"},
		{"localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"},
		{"Registry/app", "Registry/app", "Registry/app"},
		{"[fe80::1]:5000/app", "[fe80::1]:5000/app", "[fe80::1]:5000/app"},
		{"localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"},
		{"a--b__c.d", "docker.io/library/a--b__c.d", "a--b__c.d"},
		{"alpine:3@sha256:" + hexA, "docker.io/library/alpine:3@sha256:" + hexA, "alpine:3@sha256:" + hexA},
	} {
		r, err := Docker(c.in)
		if err != nil {
			t.Errorf("Docker(%q): %v", c.in, err)
			continue
		}
		if r.String() != c.full || r.Familiar() != c.familiar {
			t.Errorf("Docker(%q) = %q, familiar %q; want %q, %q", c.in, r, r.Familiar(), c.full, c.familiar)
		}
		if back, err := Stored(r.String()); err != nil || back != r {
			t.Errorf("Stored(%q) = %v, %v", r, back, err)
		}
	}
}

func TestDockerErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "invalid reference format"},
		{"Foo", "invalid reference format: repository name (library/Foo) must be lowercase"},
		{"corp/App:1", "invalid reference format: repository name (corp/App) must be lowercase"},
		{"alpine:", "invalid reference format"},
		{"alpine:-x", "invalid reference format"},
		{"alpine:" + strings.Repeat("x", 129), "invalid reference format"},
		{"a..b", "invalid reference format"},
		{"a___b", "invalid reference format"},
		{"-a", "invalid reference format"},
		{"a-", "invalid reference format"},
		{"a//b", "invalid reference format"},
		{"../../etc", "invalid reference format"},
		{"a b", "invalid reference format"},
		{"a\n", "invalid reference format"},
		{"a_b.c/foo", "invalid reference format"},
		{"-x.y/foo", "invalid reference format"},
		{"alpine@sha256:abc", "invalid reference format"},
		{"alpine@sha256:" + hexA[1:], "invalid checksum digest length"},
		{"alpine@md5:" + hexA[:32], "unsupported digest algorithm"},
		{hexA, "invalid repository name (" + hexA + "), cannot specify 64-byte hexadecimal strings"},
		{strings.Repeat("a", 256), "repository name must not be more than 255 characters"},
	} {
		r, err := Docker(c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("Docker(%q) = %v, %v; want %q", c.in, r, err, c.want)
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("Docker(%q): kind %v", c.in, fault.KindOf(err))
		}
	}
}

func TestPodman(t *testing.T) {
	for _, c := range []struct {
		in, name string
		short    bool
	}{
		{"alpine:3", "alpine:3", true},
		{"corp/app", "corp/app", true},
		{"localhost/app", "localhost/app", false},
		{"quay.io/x/y:1", "quay.io/x/y:1", false},
		{"docker.io/alpine", "docker.io/library/alpine", false},
		{"host:5000/y", "host:5000/y", false},
	} {
		r, err := Podman(c.in)
		if err != nil || r.String() != c.name || r.IsShort() != c.short {
			t.Errorf("Podman(%q) = %q short=%v, %v", c.in, r, r.IsShort(), err)
		}
	}
	for _, bad := range []string{"", "Foo", "Foo/bar", "a:b:c", hexA, strings.Repeat("a", 250)} {
		if r, err := Podman(bad); err == nil {
			t.Errorf("Podman(%q) = %q", bad, r)
		}
	}
}

func TestShortNames(t *testing.T) {
	r, _ := Podman("alpine:3")
	if got := r.On(LocalDomain).String(); got != "localhost/alpine:3" {
		t.Error(got)
	}
	if got := r.On("docker.io").String(); got != "docker.io/library/alpine:3" {
		t.Error(got)
	}
	u, err := r.Under("quay.io/team")
	if err != nil || u.String() != "quay.io/team/alpine:3" {
		t.Error(u, err)
	}
	if _, err := r.Under("not a registry"); err == nil {
		t.Error("no error")
	}
	long, _ := Podman(strings.Repeat("a", 240))
	if _, err := long.Under("quay.io/longer-than-fifteen"); err == nil {
		t.Error("too long a name was taken")
	}
}

func TestParts(t *testing.T) {
	r, _ := Docker("alpine:3@sha256:" + hexA)
	if r.Pinned().Tag != "" || r.OrLatest() != r || r.Repository().String() != "docker.io/library/alpine" {
		t.Error(r)
	}
	if w, err := r.WithTag("x"); err != nil || w.String() != "docker.io/library/alpine:x" {
		t.Error(w, err)
	}
	if _, err := r.WithTag("x y"); err == nil || err.Error() != "invalid tag format" {
		t.Error(err)
	}
	if w, err := r.Repository().WithDigest("sha256:" + hexB); err != nil || w.Digest == "" || w.Tag != "" {
		t.Error(w, err)
	}
	if got := r.Repository().OrLatest().Familiar(); got != "alpine:latest" {
		t.Error(got)
	}
}

func TestMatch(t *testing.T) {
	ids := slices.Values([]digest.Digest{"sha256:" + hexA, "sha256:" + hexB, "sha256:" + hexA})
	if id, err := Match("aaaab", ids); err != nil || id != "sha256:"+hexB {
		t.Error(id, err)
	}
	if _, err := Match("aaaa", ids); !fault.Is(err, fault.Conflict) ||
		err.Error() != "image id aaaa is ambiguous: aaaaaaaaaaaa and aaaabbbbbbbb begin with it" {
		t.Error(err)
	}
	if _, err := Match("b", ids); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	for in, ok := range map[string]bool{"cafe": true, "sha256:cafe": true, "sha256:": false, "": false,
		"CAFE": false, "latest": false, hexA + "a": false} {
		if _, got := IDPrefix(in); got != ok {
			t.Errorf("IDPrefix(%q) = %v", in, got)
		}
	}
	if id, ok := ID(hexA); !ok || id != "sha256:"+hexA {
		t.Error(id, ok)
	}
}

// FuzzDocker holds Docker against distribution/reference. Two differences are
// meant: a registry with characters that no host has is refused here (there it
// becomes part of the path, without any registry), and sha384 is not stored.
func FuzzDocker(f *testing.F) {
	for _, s := range []string{"alpine", "A/b", "a.b/c:d@sha256:" + hexA, "a_b.c/d", "[::1]:5/x", "localhost/x:y",
		"index.docker.io/a", "a__b", "a@SHA256:" + hexA, "a@sha256:" + hexA[:40], "É", "a:5000/b:c", "docker.io/a/b",
		"a@x+y.z:" + hexA, "a:b@c", "sha256:" + hexA, "a/b@sha512:" + hexA + hexA, "a@md5:" + hexA, "\xff/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Docker(s)
		want, wantErr := reference.ParseNormalizedNamed(s)
		if wantErr == nil && (reference.Domain(want) == "" || strings.Contains(s, "@sha384:")) {
			if err == nil {
				t.Fatalf("Docker(%q) = %q, want an error", s, got)
			}
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Docker(%q) = %q, %v; oracle %v, %v", s, got, err, want, wantErr)
		}
		if err != nil {
			same := err.Error() == wantErr.Error() || wantErr == reference.ErrNameContainsUppercase ||
				strings.Contains(s, "sha384:") || strings.Contains(s, "_")
			if !same {
				t.Fatalf("Docker(%q): %q, oracle %q", s, err, wantErr)
			}
			return
		}
		tag, sum := "", digest.Digest("")
		if x, ok := want.(reference.Tagged); ok {
			tag = x.Tag()
		}
		if x, ok := want.(reference.Digested); ok {
			sum = x.Digest()
		}
		oracle := Ref{Domain: reference.Domain(want), Path: reference.Path(want), Tag: tag, Digest: sum}
		if got != oracle || got.String() != want.String() || got.Familiar() != reference.FamiliarString(want) {
			t.Fatalf("Docker(%q) = %#v, oracle %#v, familiar %q %q", s, got, oracle, got.Familiar(), reference.FamiliarString(want))
		}
		if back, err := Stored(got.String()); err != nil || back != got {
			t.Fatalf("Stored(%q) = %v, %v", got, back, err)
		}
	})
}

// FuzzDigest holds CheckDigest against go-digest, which also takes sha384.
func FuzzDigest(f *testing.F) {
	for _, s := range []string{"sha256:" + hexA, "sha512:" + hexA + hexB, "sha256:" + hexA[1:], "SHA256:" + hexA, "sha256", ":", "md5:" + hexA[:32],
		"sha256:" + strings.ToUpper(hexA), "sha256:../" + hexA[3:], "sha256+b64:" + hexA, "sha384:" + hexA + hexB[:32]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err, want := CheckDigest(s), digest.Digest(s).Validate()
		if strings.HasPrefix(s, "sha384:") {
			if err == nil {
				t.Fatalf("%q was taken", s)
			}
			return
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("CheckDigest(%q): %v, oracle %v", s, err, want)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("CheckDigest(%q): kind %v", s, fault.KindOf(err))
		}
		r, perr := Podman(s)
		if perr == nil && r.IsShort() && r.On(DefaultDomain) != must(t, s) {
			t.Fatalf("Podman(%q) on docker.io is %v, not %v", s, r.On(DefaultDomain), must(t, s))
		}
	})
}

// must reads a short name in docker's words.
func must(t *testing.T, s string) Ref {
	r, err := Docker(s)
	if err != nil {
		t.Fatalf("Podman takes %q, Docker does not: %v", s, err)
	}
	return r
}
