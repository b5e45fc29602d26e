// Package hosts says which endpoints serve a repository: the registry itself,
// its mirrors, what stands in for it, and with which TLS files. It reads what
// administrators have written for docker (registry-mirrors and
// insecure-registries as plain values, certs.d), containerd (hosts.toml) and
// podman (registries.conf and its drop-ins). It opens no connection, knows no
// credential and does not parse references. Row 3, room image.
//
// Where several sources speak of one registry, the most particular one is
// taken whole: hosts.toml, then registries.conf, then docker's mirrors.
package hosts

import (
	"net"
	"strings"
	"time"

	"berth/base/fault"
)

// The names of Docker Hub: what references say, and what answers.
const (
	hub     = "docker.io"
	hubHost = "registry-1.docker.io"
)

// Options names the sources. Files and folders that do not exist are no error.
type Options struct {
	// Mirrors is daemon.json's registry-mirrors: URLs that serve docker.io.
	Mirrors []string
	// Insecure is daemon.json's insecure-registries: host, host:port or CIDR;
	// "*" is every registry (--tls-verify=false). Such a registry is asked by
	// https without verification, and by http if it speaks no TLS.
	Insecure []string
	// SecureLoopback is podman's habit: a registry on the loopback address is
	// as any other. Docker takes it for insecure.
	SecureLoopback bool
	// HostDirs hold NAME/hosts.toml (containerd's config_path).
	HostDirs []string
	// CertDirs hold NAME/*.crt, *.cert and *.key (docker's certs.d).
	CertDirs []string
	// CertDir holds such files for every registry, in the place of CertDirs.
	CertDir string
	// RegistriesConf is podman's main file, RegistriesDirs its drop-in folders
	// in rising precedence, AliasFiles further files with [aliases].
	RegistriesConf string
	RegistriesDirs []string
	AliasFiles     []string
}

// Endpoint is one place that may serve a repository.
type Endpoint struct {
	Scheme string // "https" or "http"
	Host   string // host or host:port
	// Prefix is what comes before /REPOSITORY/manifests/…: "/v2" as a rule.
	Prefix     string
	Repository string
	// Registry is the name that credentials for it are kept under.
	Registry string
	// Namespace is the registry that a mirror is asked to stand for, sent as
	// the parameter ns (containerd's registry mirrors); "" sends none.
	Namespace string
	// Mirror is set for every endpoint but the registry itself.
	Mirror bool
	TLS    TLS
	Header map[string][]string
	// Dial is the longest time to connect; 0 is the client's own.
	Dial time.Duration
}

// TLS says how one host is verified and how we show who we are.
type TLS struct {
	SkipVerify bool
	CA         []string // PEM files, beside the system's
	Client     []Pair
}

// Pair is a client certificate and its key, both PEM files; Key may be "" if
// Cert holds both.
type Pair struct{ Cert, Key string }

// String is scheme, host and prefix, for messages.
func (e Endpoint) String() string { return e.Scheme + "://" + e.Host }

// Purpose is what an endpoint is wanted for.
type Purpose int

// The purposes. A mirror may serve tags, digests or both, and is pushed to
// only if its hosts.toml says so.
const (
	Tag    Purpose = iota // what does a tag name?
	Digest                // content of a reference that has a digest
	Push
	// Content is what a tag was found to name: every mirror may have it,
	// because its bytes are verified, and one that alone knew the tag must.
	Content
)

// Table answers questions about endpoints. It is safe for concurrent use.
type Table struct {
	o          Options
	mirrors    []Endpoint
	registries registries
}

// Load reads the files of podman and checks the plain values; hosts.toml and
// certificates are read when their registry is asked for. A malformed file
// gives kind Invalid with its name and the key.
func Load(o Options) (*Table, error) {
	t := &Table{o: o}
	for _, m := range o.Mirrors {
		e, err := parseMirror(m)
		if err != nil {
			return nil, fault.New(fault.Invalid, "registry-mirrors: %w", err)
		}
		t.mirrors = append(t.mirrors, e)
	}
	var err error
	t.registries, err = loadRegistries(o)
	return t, err
}

// Endpoints lists the places to ask for repository (no tag, no digest) of the
// registry host, best first; the last one is the registry itself or what the
// administrator put in its place. A blocked registry gives kind Permission,
// one whose hosts.toml leaves nobody for the purpose Unsupported.
func (t *Table) Endpoints(host, repository string, p Purpose) ([]Endpoint, error) {
	if host == "index.docker.io" {
		host = hub
	}
	if !validHost(host) || repository == "" {
		return nil, fault.New(fault.Invalid, "find endpoints of %q: no registry or no repository", host+"/"+repository)
	}
	found, ok, err := t.fromHostDirs(host, repository, p)
	if err != nil {
		return nil, err
	}
	if !ok {
		if found, ok, err = t.fromRegistries(host, repository, p); err != nil {
			return nil, err
		}
	}
	if !ok && host == hub && p != Push {
		for _, m := range t.mirrors {
			m.Repository = repository
			found = append(found, t.spread(m, false)...)
		}
	}
	if !ok {
		found = append(found, t.spread(plain(host, repository), false)...)
	}
	for i := range found {
		if err := t.addCertificates(&found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Registry lists the ways to reach a registry by itself, for login and search.
func (t *Table) Registry(host string) ([]Endpoint, error) {
	found, err := t.Endpoints(host, "berth", Push)
	if err != nil && !fault.Is(err, fault.Unsupported) { // nobody to push to is no hindrance
		return nil, err
	}
	own := found[:0]
	for _, e := range found {
		if !e.Mirror {
			e.Repository = ""
			own = append(own, e)
		}
	}
	if len(own) == 0 {
		own = t.spread(plain(host, ""), false)
		for i := range own {
			if err := t.addCertificates(&own[i]); err != nil {
				return nil, err
			}
		}
	}
	return own, nil
}

// TLSOf says how a host that is no registry of ours (the target of a redirect,
// a token server) is verified.
func (t *Table) TLSOf(host string) (TLS, error) {
	e := Endpoint{Scheme: "https", Host: host}
	e.TLS.SkipVerify = t.insecure(host)
	err := t.addCertificates(&e)
	return e.TLS, err
}

// plain is the registry itself.
func plain(host, repository string) Endpoint {
	e := Endpoint{Scheme: "https", Host: host, Prefix: "/v2", Repository: repository, Registry: host}
	if host == hub {
		e.Host = hubHost
	}
	return e
}

// spread gives an insecure https endpoint its second form: docker and podman
// both ask by https without verification, then by http.
func (t *Table) spread(e Endpoint, insecure bool) []Endpoint {
	if e.Scheme != "https" || !insecure && !t.insecure(e.Host) {
		return []Endpoint{e}
	}
	e.TLS.SkipVerify = true
	clear := e
	clear.Scheme = "http"
	clear.TLS = TLS{}
	return []Endpoint{e, clear}
}

// insecure reports whether docker's rules take host[:port] for insecure.
// Unlike docker it resolves no names: "localhost" alone is known.
func (t *Table) insecure(host string) bool {
	name := hostname(host)
	ip := net.ParseIP(name)
	if !t.o.SecureLoopback && (name == "localhost" || ip != nil && ip.IsLoopback()) {
		return true
	}
	for _, in := range t.o.Insecure {
		if in == "*" || strings.EqualFold(in, host) || strings.EqualFold(in, name) {
			return true
		}
		if _, network, err := net.ParseCIDR(in); err == nil && ip != nil && network.Contains(ip) {
			return true
		}
	}
	return false
}

// hostname is host[:port] without the port and without brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}
