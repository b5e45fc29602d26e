package command

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"berth/image"
)

// Access is podman's flags on how a registry is reached.
type Access struct {
	image.Access
	creds     string
	tlsVerify bool
}

// Flags adds them.
func (a *Access) Flags(f *pflag.FlagSet) {
	a.FileFlag(f)
	a.TLSFlags(f)
	f.StringVar(&a.creds, "creds", "", "Credentials (USERNAME:PASSWORD) for the registry")
	Extra(f, "creds")
}

// FileFlag adds --authfile.
func (a *Access) FileFlag(f *pflag.FlagSet) {
	f.StringVar(&a.AuthFile, "authfile", os.Getenv("REGISTRY_AUTH_FILE"), "Path of the authentication file")
	f.Lookup("authfile").DefValue = ""
	Extra(f, "authfile")
}

// TLSFlags adds --cert-dir and --tls-verify.
func (a *Access) TLSFlags(f *pflag.FlagSet) {
	f.StringVar(&a.CertDir, "cert-dir", "", "Folder with TLS certificates and keys")
	f.BoolVar(&a.tlsVerify, "tls-verify", true, "Require HTTPS and verify certificates")
	Extra(f, "cert-dir", "tls-verify")
}

// RetryFlags adds --retry and --retry-delay.
func (a *Access) RetryFlags(f *pflag.FlagSet) {
	f.IntVar(&a.Retries, "retry", 0, "How often to try again after a failure")
	f.DurationVar(&a.RetryDelay, "retry-delay", 0, "Wait between two tries")
	Extra(f, "retry", "retry-delay")
}

// InsecureFlag adds docker's --insecure.
func (a *Access) InsecureFlag(f *pflag.FlagSet, usage string) {
	f.BoolVar(&a.AnyTLS, "insecure", false, usage)
}

// Value has no effects.
func (a *Access) Value() (image.Access, error) {
	out := a.Access
	out.AnyTLS = a.AnyTLS || !a.tlsVerify
	if a.creds == "" {
		return out, nil
	}
	user, password, _ := strings.Cut(a.creds, ":")
	if user == "" {
		return out, errors.New("credentials can't be empty")
	}
	out.Auth = &image.Credential{Username: user, Password: password}
	return out, nil
}

// Platform is podman's --os, --arch and --variant beside --platform.
type Platform struct{ platform, os, arch, variant string }

// Flags adds --platform, and podman's three as one.
func (p *Platform) Flags(f *pflag.FlagSet, usage string) {
	f.StringVar(&p.platform, "platform", "", usage)
	f.StringVar(&p.os, "os", "", "Operating system in the place of this one's")
	f.StringVar(&p.arch, "arch", "", "Architecture in the place of this machine's")
	f.StringVar(&p.variant, "variant", "", "Variant of the architecture")
	Extra(f, "os", "arch", "variant")
}

// Value is os/arch/variant, "" if nothing was asked for. hostArch fills in for
// --os or --variant alone.
func (p *Platform) Value(hostArch string) (string, error) {
	if p.os == "" && p.arch == "" && p.variant == "" {
		return p.platform, nil
	}
	if p.platform != "" {
		return "", errors.New("--platform option can not be specified with --arch or --os")
	}
	os, arch := p.os, p.arch
	if os == "" {
		os = "linux"
	}
	if arch == "" {
		arch = hostArch
	}
	s := os + "/" + arch
	if p.variant != "" {
		s += "/" + p.variant
	}
	return s, nil
}
