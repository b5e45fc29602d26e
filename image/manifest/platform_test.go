package manifest

import (
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm": "linux/arm/v7",
		"linux/arm/v6": "linux/arm/v6", "x86_64": "linux/amd64", "linux/aarch64": "linux/arm64", "Linux/AMD64": "linux/amd64",
		"linux": PlatformString(Host()), "linux/amd64/v3": "linux/amd64/v3", "armhf": "linux/arm/v7", "linux/riscv64": "linux/riscv64",
	} {
		if p, err := ParsePlatform(in); err != nil || PlatformString(p) != want {
			t.Errorf("ParsePlatform(%q) = %s, %v; want %s", in, PlatformString(p), err, want)
		}
	}
	for _, in := range []string{"", "/", "linux/", "linux//v8", "a/b/c/d", "beos", "linux/am d", "*"} {
		if p, err := ParsePlatform(in); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParsePlatform(%q) = %v, %v", in, p, err)
		}
	}
}

// TestRankOracle: what matches, and which of two is better, is what
// containerd's platforms say.
func TestRankOracle(t *testing.T) {
	var all []Platform
	for _, s := range strings.Fields("linux/amd64 linux/amd64/v2 linux/amd64/v3 linux/386 linux/arm/v5 linux/arm/v6 linux/arm/v7 " +
		"linux/arm/v8 linux/arm64 linux/arm64/v8.1 linux/arm64/v8.5 linux/arm64/v8.6 linux/arm64/v9 linux/arm64/v9.1 " +
		"linux/s390x linux/ppc64le windows/amd64 freebsd/amd64") {
		p, err := ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, want := range all {
		if want.OS == "windows" {
			continue
		}
		oracle := platforms.Only(want)
		for _, a := range all {
			if got, o := Rank(want, a) >= 0, oracle.Match(a); got != o {
				t.Errorf("want %s: %s matches %v, oracle %v", PlatformString(want), PlatformString(a), got, o)
			}
			for _, b := range all {
				if !oracle.Match(a) || !oracle.Match(b) {
					continue
				}
				if got, o := Rank(want, a) < Rank(want, b), oracle.Less(a, b); got != o {
					t.Errorf("want %s: %s before %s %v, oracle %v", PlatformString(want), PlatformString(a), PlatformString(b), got, o)
				}
			}
		}
	}
}

func TestSelect(t *testing.T) {
	entry := func(platform, sum string) v1.Descriptor {
		d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: "sha256:", Size: 1}
		d.Digest += digestOf(sum)
		if platform != "" {
			os, arch, _ := strings.Cut(platform, "/")
			arch, variant, _ := strings.Cut(arch, "/")
			d.Platform = &v1.Platform{OS: os, Architecture: arch, Variant: variant}
		}
		return d
	}
	x := &v1.Index{Manifests: []v1.Descriptor{entry("linux/arm/v7", "1"), entry("linux/arm64", "2"), entry("linux/amd64", "3"),
		entry("linux/amd64", "4"), entry("unknown/unknown", "5"), entry("linux/arm64/v8", "6")}}
	for want, sum := range map[string]string{"linux/amd64": "3", "linux/arm64/v8": "2", "linux/arm/v8": "1", "linux/amd64/v4": "3"} {
		p, _ := ParsePlatform(want)
		if d, err := Select(x, p); err != nil || d.Digest != "sha256:"+digestOf(sum) {
			t.Errorf("Select %s: %v, %v", want, d, err)
		}
	}
	p, _ := ParsePlatform("linux/s390x")
	_, err := Select(x, p)
	if !fault.Is(err, fault.NotFound) || !strings.HasPrefix(err.Error(),
		"no matching manifest for linux/s390x in the manifest list entries: it has linux/arm/v7, linux/arm64") {
		t.Error(err)
	}
	x.Manifests = append(x.Manifests, entry("", "7"))
	if d, err := Select(x, p); err != nil || d.Digest != "sha256:"+digestOf("7") {
		t.Error(d, err)
	}
	if _, err := Select(&v1.Index{}, p); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func FuzzPlatform(f *testing.F) {
	for _, s := range []string{"linux/arm64/v8", "arm", "linux", "linux/amd64/v9", "linux/arm64/v8.99"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		if again, err := ParsePlatform(PlatformString(p)); err != nil || PlatformString(again) != PlatformString(p) {
			t.Fatalf("%q: %s, %s, %v", s, PlatformString(p), PlatformString(again), err)
		}
		if Rank(p, p) != 0 {
			t.Fatal("not its own equal", s)
		}
	})
}

func digestOf(c string) digest.Digest { return digest.Digest(strings.Repeat(c, 64)) }
