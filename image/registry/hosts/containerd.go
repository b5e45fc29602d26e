package hosts

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// The caps on configuration files.
const (
	maxFile    = 1 << 20
	maxEntries = 4096 // tables or files of one kind
)

// hostFields are the keys that hosts.toml allows for the server at the top and
// for each host (containerd, docs/hosts.md).
type hostFields struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// hostEntry is one endpoint of a hosts.toml, before a repository is known.
type hostEntry struct {
	endpoint Endpoint
	resolve  bool
	pull     bool
	push     bool
	insecure bool // no scheme was written and the host is taken as insecure
}

// fromHostDirs answers from hosts.toml. found is false if no folder names the
// registry.
func (t *Table) fromHostDirs(host, repository string, p Purpose) (out []Endpoint, found bool, err error) {
	file, data, err := t.findHostsFile(host)
	if err != nil || file == "" {
		return nil, false, err
	}
	entries, err := parseHosts(file, host, data)
	if err != nil {
		return nil, false, err
	}
	for _, h := range entries {
		ok := h.pull
		if p == Push {
			ok = h.push
		} else if p == Tag {
			ok = h.pull && h.resolve
		}
		if !ok {
			continue
		}
		e := h.endpoint
		e.Repository = repository
		if h.insecure {
			out = append(out, t.spread(e, false)...)
		} else {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, false, fault.New(fault.Unsupported, "%s: no host serves %s for this purpose", file, host)
	}
	return out, true, nil
}

// findHostsFile looks for NAME/hosts.toml under the names that containerd
// knows: host_port_, host:port, host, and _default.
func (t *Table) findHostsFile(host string) (file string, data []byte, err error) {
	if !validHost(host) {
		return "", nil, fault.New(fault.Invalid, "look for hosts.toml of %q: no host name", host)
	}
	var names []string
	if h, port, ok := strings.Cut(host, ":"); ok && !strings.Contains(port, ":") {
		names = append(names, h+"_"+port+"_")
	}
	names = append(names, host, "_default")
	for _, dir := range t.o.HostDirs {
		for _, name := range names {
			file := filepath.Join(dir, name, "hosts.toml")
			data, err := atomicfile.ReadCapped(file, maxFile)
			if err == nil {
				return file, data, nil
			}
			if !fault.Is(err, fault.NotFound) {
				return "", nil, err
			}
		}
	}
	return "", nil, nil
}

// parseHosts reads a hosts.toml for the registry host: the hosts in their
// order, then the server.
func parseHosts(file, host string, data []byte) ([]hostEntry, error) {
	var top struct {
		Server string                `toml:"server"`
		Host   map[string]hostFields `toml:"host"`
	}
	var server hostFields
	if err := toml.Unmarshal(data, &top); err != nil {
		return nil, tomlError(file, err)
	}
	if err := toml.Unmarshal(data, &server); err != nil {
		return nil, tomlError(file, err)
	}
	if len(top.Host) > maxEntries {
		return nil, fault.New(fault.Invalid, "read %s: more than %d hosts", file, maxEntries)
	}
	var out []hostEntry
	for _, name := range hostOrder(data, top.Host) {
		e, err := readHost(file, fmt.Sprintf("host.%q", name), name, top.Host[name])
		if err != nil {
			return nil, err
		}
		e.endpoint.Mirror = true
		e.endpoint.Namespace = host
		out = append(out, e)
	}
	address := top.Server
	if address == "" {
		address = plain(host, "").Host
	}
	e, err := readHost(file, "server", address, server)
	if err != nil {
		return nil, err
	}
	if same := plain(host, ""); e.endpoint.Host == same.Host || e.endpoint.Host == host {
		e.endpoint.Host, e.endpoint.Registry = same.Host, same.Registry
	} else {
		e.endpoint.Namespace = host
	}
	return append(out, e), nil
}

// hostOrder lists the hosts as they stand in the file; TOML's own maps have no
// order, but the first mirror is meant to be asked first.
func hostOrder(data []byte, hosts map[string]hostFields) []string {
	var names []string
	seen := map[string]bool{}
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		it := e.Key()
		if !it.Next() || string(it.Node().Data) != "host" || !it.Next() {
			continue
		}
		name := string(it.Node().Data)
		if _, ok := hosts[name]; ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	var rest []string
	for name := range hosts {
		if !seen[name] {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	return append(names, rest...)
}

// readHost makes an endpoint of one table.
func readHost(file, key, address string, f hostFields) (hostEntry, error) {
	bad := func(sub, format string, args ...any) (hostEntry, error) {
		return hostEntry{}, fault.New(fault.Invalid, "read %s: key %s%s: %s", file, key, sub, fmt.Sprintf(format, args...))
	}
	var h hostEntry
	if !strings.Contains(address, "://") {
		h.insecure = true // the scheme is ours to choose
		address = "https://" + address
	}
	u, err := parseURL(address)
	if err != nil {
		return bad("", "%v", err)
	}
	e := Endpoint{Scheme: u.Scheme, Host: u.Host, Registry: u.Host, Prefix: path.Join("/", u.Path)}
	if !f.OverridePath && !strings.HasSuffix(e.Prefix, "/v2") {
		e.Prefix = path.Join(e.Prefix, "v2")
	}
	if e.Prefix == "/" {
		e.Prefix = ""
	}
	if len(f.Capabilities) == 0 {
		h.pull, h.resolve, h.push = true, true, true
	}
	for _, c := range f.Capabilities {
		switch strings.ToLower(c) {
		case "pull":
			h.pull = true
		case "resolve":
			h.resolve = true
		case "push":
			h.push = true
		case "referrers":
		default:
			return bad(".capabilities", "%q is none of pull, resolve, push", c)
		}
	}
	if f.SkipVerify != nil {
		e.TLS.SkipVerify = *f.SkipVerify
	}
	dir := filepath.Dir(file)
	if e.TLS.CA, err = readCA(dir, f.CA); err != nil {
		return bad(".ca", "%v", err)
	}
	if e.TLS.Client, err = readClient(dir, f.Client); err != nil {
		return bad(".client", "%v", err)
	}
	if e.Header, err = readHeader(f.Header); err != nil {
		return bad(".header", "%v", err)
	}
	if f.DialTimeout != "" {
		if e.Dial, err = time.ParseDuration(f.DialTimeout); err != nil || e.Dial <= 0 {
			return bad(".dial_timeout", "%q is no time", f.DialTimeout)
		}
	}
	h.endpoint = e
	return h, nil
}

// readCA takes a string or a list of strings; relative names are below dir.
func readCA(dir string, v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{below(dir, v)}, nil
	case []any:
		var out []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, errors.New("a list of file names is wanted")
			}
			out = append(out, below(dir, s))
		}
		return out, nil
	}
	return nil, errors.New("a file name or a list of them is wanted")
}

// readClient takes a file, a list of files, or a list of [cert, key].
func readClient(dir string, v any) ([]Pair, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []Pair{{Cert: below(dir, v)}}, nil
	case []any:
		var out []Pair
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, Pair{Cert: below(dir, s)})
				continue
			}
			list, _ := x.([]any)
			files, err := readCA(dir, list)
			switch {
			case err != nil || list == nil || len(files) == 0 || len(files) > 2:
				return nil, errors.New("each entry must be a file or [certificate, key]")
			case len(files) == 1:
				out = append(out, Pair{Cert: files[0]})
			default:
				out = append(out, Pair{Cert: files[0], Key: files[1]})
			}
		}
		return out, nil
	}
	return nil, errors.New("a file name or a list is wanted")
}

// readHeader takes strings or lists of strings. What would break a request or
// carry a secret past our rules is refused.
func readHeader(m map[string]any) (map[string][]string, error) {
	var out map[string][]string
	for name, v := range m {
		values, err := readCA("", v)
		if err != nil {
			return nil, fmt.Errorf("%q: a string or a list of strings is wanted", name)
		}
		for _, s := range values {
			if strings.ContainsAny(s, "\r\n\x00") {
				return nil, fmt.Errorf("%q: the value has a line break", name)
			}
		}
		if name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
		}) {
			return nil, fmt.Errorf("%q is no header", name)
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[name] = values
	}
	return out, nil
}

func below(dir, name string) string {
	if dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// tomlError is one line with the file, the place and the key.
func tomlError(file string, err error) error {
	var d *toml.DecodeError
	if errors.As(err, &d) {
		line, column := d.Position()
		key := strings.Join(d.Key(), ".")
		if key != "" {
			key = "key " + key + ": "
		}
		return fault.New(fault.Invalid, "read %s: line %d, column %d: %s%s", file, line, column, key,
			strings.TrimPrefix(d.Error(), "toml: "))
	}
	return fault.New(fault.Invalid, "read %s: %w", file, err)
}
