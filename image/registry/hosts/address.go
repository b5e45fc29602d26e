package hosts

import (
	"net/url"
	"path"
	"strings"

	"berth/base/fault"
)

// parseMirror reads one value of registry-mirrors. Docker demands http or
// https and nothing behind the host but a path.
func parseMirror(s string) (Endpoint, error) {
	u, err := parseURL(s)
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{
		Scheme: u.Scheme, Host: u.Host, Prefix: path.Join("/", u.Path, "v2"),
		Registry: u.Host, Mirror: true,
	}, nil
}

// parseURL reads the address of an endpoint. Credentials in an address would
// end in messages and are refused.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, "%q is no URL", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fault.New(fault.Invalid, "%q: the scheme must be http or https", s)
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "%q: credentials do not belong into an address", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fault.New(fault.Invalid, "%q: a query or fragment makes no sense here", s)
	}
	if !validHost(u.Host) {
		return nil, fault.New(fault.Invalid, "%q: %q is no host name", s, u.Host)
	}
	return u, nil
}

// validHost reports whether s is host or host:port and nothing that could
// leave a folder or a URL's authority.
func validHost(s string) bool {
	if s == "" || len(s) > 261 || s[0] == '.' || s[0] == '-' || s[0] == ':' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(".-_:[]", c) >= 0:
		default:
			return false
		}
	}
	u, err := url.Parse("https://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// splitLocation parts "host/some/path" at the first slash.
func splitLocation(s string) (host, rest string) {
	host, rest, _ = strings.Cut(s, "/")
	return host, rest
}
