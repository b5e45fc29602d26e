package manifest

import (
	"runtime"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

// Platform is OS, architecture and variant as OCI names them (Go's GOOS and
// GOARCH). It is image-spec's type.
type Platform = v1.Platform

// Host returns the platform of this machine, normalized.
func Host() Platform {
	p := Platform{OS: "linux", Architecture: runtime.GOARCH}
	if p.Architecture == "arm" {
		p.Variant = "v7"
	}
	return Normalize(p)
}

// ParsePlatform reads what --platform takes: os/arch[/variant], or one word
// that is an os (with this machine's architecture) or an architecture (of
// linux). Error: Invalid.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	for i, p := range parts {
		if i > 0 && p == "" || !isPlatformWord(p) {
			return Platform{}, errPlatform(s)
		}
	}
	switch len(parts) {
	case 1:
		p := Normalize(Platform{OS: parts[0], Architecture: Host().Architecture, Variant: Host().Variant})
		if isOS(p.OS) {
			return p, nil
		}
		p = Normalize(Platform{OS: "linux", Architecture: parts[0]})
		if isArch(p.Architecture) {
			return p, nil
		}
	case 2:
		return Normalize(Platform{OS: parts[0], Architecture: parts[1]}), nil
	case 3:
		return Normalize(Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}), nil
	}
	return Platform{}, errPlatform(s)
}

func errPlatform(s string) error {
	return fault.New(fault.Invalid, "%.80q is not a platform: os/arch[/variant], such as linux/arm64", s)
}

func isPlatformWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("_.-", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isOS(s string) bool {
	return slices.Contains(strings.Fields("aix android darwin dragonfly freebsd illumos js linux nacl netbsd "+
		"openbsd plan9 solaris windows zos"), s)
}

func isArch(s string) bool {
	return slices.Contains(strings.Fields("386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le mips64p32 "+
		"mips64p32le ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm"), s)
}

// PlatformString writes os/arch[/variant]; unknown for the empty Platform.
func PlatformString(p Platform) string {
	if p.OS == "" && p.Architecture == "" {
		return "unknown"
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Normalize writes a platform in the one way in which it is compared: lower
// case, x86_64 as amd64, aarch64 as arm64, arm64/v8 without its variant, arm
// with one, amd64/v1 without.
func Normalize(p Platform) Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64", "amd64":
		p.Architecture = "amd64"
		if p.Variant == "v1" {
			p.Variant = ""
		}
	case "aarch64", "arm64":
		p.Architecture = "arm64"
		if p.Variant == "8" || p.Variant == "v8" || p.Variant == "v8.0" {
			p.Variant = ""
		} else if p.Variant == "9" || p.Variant == "v9.0" {
			p.Variant = "v9"
		}
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "arm":
		switch p.Variant {
		case "":
			p.Variant = "v7"
		case "5", "6", "7", "8":
			p.Variant = "v" + p.Variant
		}
	}
	return p
}

// Rank says how well an image of platform have runs where want is asked for: 0
// is exact, larger is worse, -1 not at all. A newer arm or amd64 runs what is
// made for an older one, amd64 and arm64 run 386 and arm last.
func Rank(want, have Platform) int {
	want, have = Normalize(want), Normalize(have)
	if want.OS != have.OS || want.OSVersion != "" && want.OSVersion != have.OSVersion {
		return -1
	}
	if want.Architecture == have.Architecture {
		if want.Variant == have.Variant {
			return 0
		}
		return older(want, have)
	}
	switch {
	case want.Architecture == "amd64" && have.Architecture == "386":
		return 1000
	case want.Architecture == "arm64" && have.Architecture == "arm":
		if n := level(have); 5 <= n && n <= 80 {
			return 1000 + 80 - n
		}
	}
	return -1
}

// older ranks a have of want's architecture that is made for an older level.
func older(want, have Platform) int {
	w, h := level(want), level(have)
	switch {
	case w < 0 || h < 0 || h > w:
		return -1
	case want.Architecture == "arm64" && w >= 90 && h < 90:
		// arm64 v9.x contains v8.(x+5): Arm ARM, "Armv9-A"
		if h > 80+w-90+5 {
			return -1
		}
	}
	return w - h
}

// level turns a variant into a number that grows with the machine: amd64 v3 is
// 30, arm v7 is 70, arm64 v8.2 is 82. -1 is unknown.
func level(p Platform) int {
	v := p.Variant
	if v == "" {
		switch p.Architecture {
		case "amd64":
			v = "v1"
		case "arm64":
			v = "v8"
		}
	}
	v, ok := strings.CutPrefix(v, "v")
	major, minor, hasMinor := strings.Cut(v, ".")
	n, err := strconv.ParseUint(major, 10, 4)
	if !ok || err != nil || n == 0 {
		return -1
	}
	m := uint64(0)
	if hasMinor {
		if m, err = strconv.ParseUint(minor, 10, 4); err != nil || m > 9 || p.Architecture != "arm64" {
			return -1
		}
	}
	return int(n*10 + m)
}
