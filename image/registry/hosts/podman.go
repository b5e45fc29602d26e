package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Mode is registries.conf's short-name-mode.
type Mode string

// The modes: may a short name without alias be guessed?
const (
	Enforcing  Mode = "enforcing"  // ask on a terminal, else fail if several fit
	Permissive Mode = "permissive" // ask on a terminal, else try all
	Disabled   Mode = "disabled"   // try all
)

// registries is what all of podman's files say together.
type registries struct {
	list    []registry
	search  []string
	mode    Mode
	aliases map[string]string
}

// registry is one [[registry]] table, containers-registries.conf(5).
type registry struct {
	Prefix             string   `toml:"prefix"`
	Location           string   `toml:"location"`
	Insecure           bool     `toml:"insecure"`
	Blocked            bool     `toml:"blocked"`
	MirrorByDigestOnly bool     `toml:"mirror-by-digest-only"`
	Mirrors            []mirror `toml:"mirror"`

	file string
}

type mirror struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"`
}

// registriesFile is one file: version 2, and version 1's [registries.*] lists.
type registriesFile struct {
	Registry []registry        `toml:"registry"`
	Search   []string          `toml:"unqualified-search-registries"`
	Mode     string            `toml:"short-name-mode"`
	Aliases  map[string]string `toml:"aliases"`
	V1       *struct {
		Search   v1List `toml:"search"`
		Insecure v1List `toml:"insecure"`
		Block    v1List `toml:"block"`
	} `toml:"registries"`
}

type v1List struct {
	Registries []string `toml:"registries"`
}

// loadRegistries merges the main file and the drop-ins: a registry of a later
// file replaces one with the same prefix, a list of search registries replaces
// the former, aliases are added.
func loadRegistries(o Options) (registries, error) {
	r := registries{mode: Permissive, aliases: map[string]string{}}
	files, err := registriesFiles(o)
	if err != nil {
		return r, err
	}
	for _, file := range files {
		data, err := atomicfile.ReadCapped(file, maxFile)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return r, err
		}
		f, err := parseRegistries(file, data)
		if err != nil {
			return r, err
		}
		r.merge(f)
		if len(r.list) > maxEntries {
			return r, fault.New(fault.Invalid, "read %s: more than %d registries together", file, maxEntries)
		}
	}
	return r, nil
}

// registriesFiles is the main file, then the drop-ins by name, then aliases.
func registriesFiles(o Options) ([]string, error) {
	var files []string
	if o.RegistriesConf != "" {
		files = append(files, o.RegistriesConf)
	}
	for _, dir := range o.RegistriesDirs {
		entries, err := os.ReadDir(dir) // sorted
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Permission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read registries: %w", err)
		}
		if len(entries) > maxEntries {
			return nil, fault.New(fault.Invalid, "read registries of %s: more than %d files", dir, maxEntries)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") && !e.IsDir() {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	return append(files, o.AliasFiles...), nil
}

func (r *registries) merge(f registriesFile) {
	for _, n := range f.Registry {
		i := slices.IndexFunc(r.list, func(x registry) bool { return x.Prefix == n.Prefix })
		if i >= 0 {
			r.list[i] = n
		} else {
			r.list = append(r.list, n)
		}
	}
	if f.Search != nil {
		r.search = f.Search
	}
	if f.Mode != "" {
		r.mode = Mode(f.Mode)
	}
	for name, to := range f.Aliases {
		r.aliases[name] = to
	}
}

// parseRegistries reads and checks one file.
func parseRegistries(file string, data []byte) (registriesFile, error) {
	var f registriesFile
	if err := toml.Unmarshal(data, &f); err != nil {
		return f, tomlError(file, err)
	}
	bad := func(key, format string, args ...any) (registriesFile, error) {
		return f, fault.New(fault.Invalid, "read %s: key %s: %s", file, key, fmt.Sprintf(format, args...))
	}
	if f.V1 != nil {
		if f.Registry != nil || f.Search != nil {
			return bad("registries", "the old and the new form cannot be mixed")
		}
		f.fromV1()
	}
	if len(f.Registry) > maxEntries || len(f.Search) > maxEntries {
		return bad("registry", "more than %d", maxEntries)
	}
	for i := range f.Registry {
		if key, err := f.Registry[i].check(); err != nil {
			return bad(fmt.Sprintf("registry[%d].%s", i, key), "%v", err)
		}
		f.Registry[i].file = file
	}
	for _, s := range f.Search {
		if host, _ := splitLocation(s); !validHost(host) {
			return bad("unqualified-search-registries", "%q is no registry", s)
		}
	}
	switch Mode(f.Mode) {
	case "", Enforcing, Permissive, Disabled:
	default:
		return bad("short-name-mode", "%q is none of enforcing, permissive, disabled", f.Mode)
	}
	for name, to := range f.Aliases {
		host, rest := splitLocation(to)
		if to != "" && (!validHost(host) || rest == "") {
			return bad(fmt.Sprintf("aliases.%q", name), "%q is no full name", to)
		}
	}
	return f, nil
}

// fromV1 turns the lists of the old form into tables.
func (f *registriesFile) fromV1() {
	f.Search = f.V1.Search.Registries
	add := func(names []string, set func(*registry)) {
		for _, name := range names {
			name = strings.TrimSuffix(name, "/")
			i := slices.IndexFunc(f.Registry, func(r registry) bool { return r.Location == name })
			if i < 0 {
				f.Registry = append(f.Registry, registry{Location: name})
				i = len(f.Registry) - 1
			}
			set(&f.Registry[i])
		}
	}
	add(f.V1.Insecure.Registries, func(r *registry) { r.Insecure = true })
	add(f.V1.Block.Registries, func(r *registry) { r.Blocked = true })
}

// check completes a table and finds what cannot be meant.
func (r *registry) check() (key string, err error) {
	r.Prefix = strings.TrimSuffix(r.Prefix, "/")
	r.Location = strings.TrimSuffix(r.Location, "/")
	if r.Prefix == "" {
		if r.Location == "" {
			return "prefix", fmt.Errorf("neither prefix nor location is given")
		}
		r.Prefix = r.Location
	}
	wild, isWild := strings.CutPrefix(r.Prefix, "*.")
	host, rest := splitLocation(wild)
	if !validHost(host) || isWild && rest != "" {
		return "prefix", fmt.Errorf("%q is neither host[/path] nor *.host", r.Prefix)
	}
	if r.Location == "" && !isWild {
		r.Location = r.Prefix
	}
	if err := checkLocation(r.Location); r.Location != "" && err != nil {
		return "location", err
	}
	if len(r.Mirrors) > maxEntries {
		return "mirror", fmt.Errorf("more than %d", maxEntries)
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		m.Location = strings.TrimSuffix(m.Location, "/")
		if err := checkLocation(m.Location); err != nil {
			return fmt.Sprintf("mirror[%d].location", i), err
		}
		switch m.PullFromMirror {
		case "", "all", "digest-only", "tag-only":
		default:
			return fmt.Sprintf("mirror[%d].pull-from-mirror", i), fmt.Errorf("%q is none of all, digest-only, tag-only", m.PullFromMirror)
		}
		if r.MirrorByDigestOnly && m.PullFromMirror != "" {
			return fmt.Sprintf("mirror[%d].pull-from-mirror", i), fmt.Errorf("cannot be set beside mirror-by-digest-only")
		}
	}
	return "", nil
}

// checkLocation holds host[/path] to plain characters: the path becomes part
// of a URL.
func checkLocation(s string) error {
	host, rest := splitLocation(s)
	if strings.Contains(s, "://") {
		return fmt.Errorf("%q: a location has no scheme", s)
	}
	if !validHost(host) {
		return fmt.Errorf("%q: %q is no host name", s, host)
	}
	if rest == "" {
		return nil
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
		}) {
			return fmt.Errorf("%q is no path of a repository", s)
		}
	}
	return nil
}

// match gives the length of the part of name (host/repository) that the prefix
// covers, or -1.
func (r *registry) match(name string) int {
	if wild, ok := strings.CutPrefix(r.Prefix, "*"); ok {
		host, _ := splitLocation(name)
		if strings.HasSuffix(host, wild) && len(host) > len(wild) {
			return len(host)
		}
		return -1
	}
	rest, ok := strings.CutPrefix(name, r.Prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return -1
	}
	return len(r.Prefix)
}

// find is the table with the longest prefix.
func (t *Table) find(name string) (r *registry, covered int) {
	for i := range t.registries.list {
		x := &t.registries.list[i]
		n := x.match(name)
		if n >= 0 && (r == nil || len(x.Prefix) > len(r.Prefix)) {
			r, covered = x, n
		}
	}
	return r, covered
}

// fromRegistries answers from registries.conf. Pushes go to the registry that
// the reference names, as podman's do.
func (t *Table) fromRegistries(host, repository string, p Purpose) (out []Endpoint, found bool, err error) {
	name := host + "/" + repository
	r, covered := t.find(name)
	if r == nil {
		return nil, false, nil
	}
	if r.Blocked {
		return nil, false, fault.New(fault.Permission, "registry %s is blocked in %s", r.Prefix, r.file)
	}
	if p == Push {
		return t.spread(plain(host, repository), r.Insecure), true, nil
	}
	rest := name[covered:]
	for _, m := range r.Mirrors {
		if !m.serves(p, r.MirrorByDigestOnly) {
			continue
		}
		e, err := located(m.Location + rest)
		if err != nil {
			return nil, false, fault.New(fault.Invalid, "use mirror %s of %s: %w", m.Location, r.file, err)
		}
		e.Mirror = true
		out = append(out, t.spread(e, m.Insecure)...)
	}
	own := name
	if r.Location != "" {
		own = r.Location + rest
	}
	e, err := located(own)
	if err != nil {
		return nil, false, fault.New(fault.Invalid, "use location %s of %s: %w", r.Location, r.file, err)
	}
	return append(out, t.spread(e, r.Insecure)...), true, nil
}

func (m *mirror) serves(p Purpose, digestOnly bool) bool {
	if p == Content {
		return true
	}
	switch m.PullFromMirror {
	case "digest-only":
		return p == Digest
	case "tag-only":
		return p == Tag
	}
	return p == Digest || !digestOnly
}

// located makes an endpoint of host/repository.
func located(s string) (Endpoint, error) {
	host, repository := splitLocation(s)
	if repository == "" {
		return Endpoint{}, fmt.Errorf("%q names no repository", s)
	}
	return plain(host, repository), nil
}

// Candidates lists the full names that the short name (no registry, no tag)
// may stand for: the alias alone if there is one, else the name below each
// search registry.
func (t *Table) Candidates(short string) (names []string, alias bool) {
	if to := t.registries.aliases[short]; to != "" {
		return []string{to}, true
	}
	for _, s := range t.registries.search {
		names = append(names, s+"/"+short)
	}
	return names, false
}

// ShortNameMode is the short-name-mode of the files; permissive if none says.
func (t *Table) ShortNameMode() Mode { return t.registries.mode }

// SearchRegistries is the list of unqualified-search-registries.
func (t *Table) SearchRegistries() []string { return slices.Clone(t.registries.search) }
