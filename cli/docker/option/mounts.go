package option

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/units"
	"berth/cli/docker/command"
	"berth/container/config"
)

// mounts is -v, --mount and --tmpfs. All in the order in which they were given.
type mounts struct {
	list          []config.Mount // of --mount
	volumes       []string       // -v as typed
	tmpfs         []string
	from, storage []string
	driver        string
	secrets       []config.Secret
}

func (m *mounts) flags(f *pflag.FlagSet) {
	f.VarP(listed(&m.volumes, nil), "volume", "v", "Bind mount a volume")
	f.Var(&value{kind: "mount", take: m.addMount}, "mount", "Attach a filesystem mount to the container")
	f.Var(listed(&m.tmpfs, nil), "tmpfs", "Mount a tmpfs directory")
	f.Var(listed(&m.from, nil), "volumes-from", "Mount volumes from the specified container(s)")
	f.StringVar(&m.driver, "volume-driver", "", "Optional volume driver for the container")
	f.Var(&value{kind: "list", take: m.addSecret}, "secret", "Give the container a secret")
	command.Extra(f, "secret")
}

func (o *Options) readMounts(a Around) error {
	m, c := &o.mounts, &o.config
	for _, spec := range m.volumes {
		mount, err := a.bind(spec)
		if err != nil {
			return command.FromEngine(err)
		}
		if mount.Target == "" {
			continue
		}
		if mount.Kind == config.MountVolume {
			mount.VolumeDriver = m.driver
		}
		c.Mounts = append(c.Mounts, mount)
	}
	c.Mounts = append(c.Mounts, m.list...)
	for _, spec := range m.tmpfs {
		mount, err := tmpfs(spec)
		if err != nil {
			return err
		}
		c.Mounts = append(c.Mounts, mount)
	}
	c.VolumesFrom, c.Life.Secrets = m.from, m.secrets
	return o.readStorage()
}

// bind is one -v. A source that begins with a dot is a path from here. Nothing
// at all, which scripts write with an empty variable, mounts nothing.
func (a Around) bind(spec string) (config.Mount, error) {
	if spec == "" {
		return config.Mount{}, nil
	}
	source, rest, several := strings.Cut(spec, ":")
	if several && (source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")) {
		whole, err := a.Abs(source)
		if err != nil {
			return config.Mount{}, err
		}
		spec = whole + ":" + rest
	}
	if !several && !path.IsAbs(spec) {
		spec = "/" + spec // an anonymous volume's place, from the root
	}
	return config.ParseBind(spec)
}

// tmpfs is one --tmpfs: TARGET[:OPTIONS].
func tmpfs(spec string) (config.Mount, error) {
	target, options, _ := strings.Cut(spec, ":")
	m := config.Mount{Kind: config.MountTmpfs, Target: target, Syntax: "--tmpfs"}
	for word := range strings.SplitSeq(options, ",") {
		switch word {
		case "":
		case "ro":
			m.ReadOnly = true
		default:
			m.Options = append(m.Options, word)
		}
	}
	return m, nil
}

// readStorage reads --storage-opt; size is all there is.
func (o *Options) readStorage() error {
	for _, s := range o.mounts.storage {
		key, v, ok := strings.Cut(s, "=")
		if !ok {
			return command.Line("invalid storage option")
		}
		if key != "size" {
			return command.FromEngine(command.Line("Unknown option %s", key))
		}
		n, err := units.ParseBytes(v)
		if err != nil {
			return command.FromEngine(fmt.Errorf("invalid size: '%s'", v))
		}
		o.config.Image.SizeLimit, o.config.Image.SizeAsked = n, v
	}
	return nil
}

// addMount is one --mount: fields parted by commas, as in a line of CSV.
func (m *mounts) addMount(s string) error {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		if err == io.EOF {
			return errors.New("EOF")
		}
		return err
	}
	p := mountFields{mount: config.Mount{Kind: config.MountVolume, Syntax: "--mount"}}
	for _, field := range fields {
		if err := p.field(field); err != nil {
			return err
		}
	}
	if err := p.whole(); err != nil {
		return err
	}
	m.list = append(m.list, p.mount)
	return nil
}

// mountFields is a --mount under way.
type mountFields struct {
	mount config.Mount
	used  map[string]bool // bind, volume, tmpfs, image: fields of that kind of mount
	rw    bool            // asked for by name
}

func (p *mountFields) field(field string) error {
	key, v, valued := strings.Cut(field, "=")
	key = strings.ToLower(key)
	if !valued {
		switch key {
		case "readonly", "ro", "volume-nocopy", "bind-nonrecursive", "rw", "readwrite", "u", "chown", "idmap", "notmpcopyup", "tmpcopyup":
			v = "true"
		default:
			return fmt.Errorf("invalid field '%s' must be a key=value pair", field)
		}
	}
	kind, _, _ := strings.Cut(key, "-")
	switch kind {
	case "bind", "volume", "tmpfs", "image":
		if p.used == nil {
			p.used = map[string]bool{}
		}
		p.used[kind] = true
		return p.kindField(key, v, field)
	}
	return p.plainField(key, v, field)
}

func (p *mountFields) plainField(key, v, field string) error {
	m := &p.mount
	switch key {
	case "type":
		m.Kind = strings.ToLower(v)
		if m.Kind == "glob" || m.Kind == "devpts" || m.Kind == "ramfs" {
			return fmt.Errorf("mount type %s is not served", v)
		}
	case "source", "src":
		m.Source = v
	case "target", "dst", "destination":
		m.Target = v
	case "readonly", "ro":
		err := setBool(&m.ReadOnly, key, v)
		p.rw = !m.ReadOnly
		return err
	case "rw":
		writable := true
		err := setBool(&writable, key, v)
		m.ReadOnly, p.rw = !writable, writable
		return err
	case "consistency", "tmpcopyup", "notmpcopyup":
	case "readwrite": // podman's, of an image
		return p.plainField("rw", v, field)
	case "subpath":
		m.Subpath = v
	case "idmap":
		m.Options = append(m.Options, strings.TrimSuffix(key+"="+v, "=true"))
	case "u", "chown":
		own := false
		if err := setBool(&own, key, v); err != nil {
			return err
		}
		if own {
			m.Options = append(m.Options, "U")
		}
	case "relabel":
		word, ok := map[string]string{"shared": "z", "private": "Z"}[v]
		if !ok {
			return fmt.Errorf("relabel can be shared or private, not %s", v)
		}
		m.Options = append(m.Options, word)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

// kindField is a field of one kind of mount: its name begins with the kind.
func (p *mountFields) kindField(key, v, field string) error {
	m := &p.mount
	switch key {
	case "bind-propagation":
		m.Propagation = strings.ToLower(v)
	case "bind-nonrecursive":
		return setBool(&m.NonRecursive, key, v)
	case "bind-recursive":
		return p.recursive(v)
	case "bind-create-src":
		return setBool(&m.CreateSource, key, v)
	case "volume-nocopy":
		return setBool(&m.NoCopy, key, v)
	case "volume-subpath", "image-subpath", "image-path":
		m.Subpath = v
	case "volume-label":
		setPair(&m.VolumeLabels, v)
	case "volume-driver":
		m.VolumeDriver = v
	case "volume-opt":
		setPair(&m.VolumeOpts, v)
	case "tmpfs-size":
		n, err := units.ParseBytes(v)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, v)
		}
		m.SizeBytes = n
	case "tmpfs-mode":
		mode, err := strconv.ParseUint(v, 8, 32)
		if err != nil || mode > 0o7777 {
			return fmt.Errorf("invalid value for %s: %s", key, v)
		}
		m.Mode = uint32(mode)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

func (p *mountFields) recursive(v string) error {
	switch v {
	case "enabled":
	case "disabled":
		p.mount.NonRecursive = true
	case "writable", "readonly":
		p.mount.ReadOnlyRecursive = v
	default:
		return fmt.Errorf(`invalid value for bind-recursive: %s (must be "enabled", "disabled", "writable", or "readonly")`, v)
	}
	return nil
}

// whole checks the fields together.
func (p *mountFields) whole() error {
	m := &p.mount
	if m.Kind == "" {
		return fmt.Errorf("type is required")
	}
	if m.Target == "" {
		return fmt.Errorf("target is required")
	}
	for _, kind := range []string{"volume", "bind", "tmpfs", "image"} {
		if p.used[kind] && m.Kind != kind {
			return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", kind, m.Kind)
		}
	}
	if m.Kind == config.MountImage && !p.rw {
		m.ReadOnly = true
	}
	if m.Kind == config.MountBind && path.IsAbs(m.Source) {
		m.Source = path.Clean(m.Source)
	}
	if path.IsAbs(m.Target) {
		m.Target = path.Clean(m.Target)
	}
	return nil
}

func setBool(p *bool, key, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("invalid value for %s: %s", key, v)
	}
	*p = b
	return nil
}

func setPair(m *map[string]string, s string) {
	if *m == nil {
		*m = map[string]string{}
	}
	k, v, _ := strings.Cut(s, "=")
	(*m)[k] = v
}

// addSecret is one --secret: NAME, then type=, target=, uid=, gid=, mode=.
func (m *mounts) addSecret(s string) error {
	name, rest, _ := strings.Cut(s, ",")
	secret := config.Secret{Name: strings.TrimPrefix(name, "source="), Kind: "mount", Mode: 0o444}
	if secret.Name == "" {
		return fmt.Errorf("no secret found %q", s)
	}
	for field := range strings.SplitSeq(rest, ",") {
		if field == "" {
			continue
		}
		key, v, ok := strings.Cut(field, "=")
		if !ok {
			return fmt.Errorf("option %s must be in form option=value", field)
		}
		if err := setSecret(&secret, key, v); err != nil {
			return err
		}
	}
	m.secrets = append(m.secrets, secret)
	return nil
}

func setSecret(s *config.Secret, key, v string) error {
	number := func(p *uint32, base int) error {
		n, err := strconv.ParseUint(v, base, 32)
		if err != nil {
			return fmt.Errorf("secret %s: invalid %s %q", s.Name, key, v)
		}
		*p = uint32(n)
		return nil
	}
	switch key {
	case "source":
		s.Name = v
	case "type":
		if v != "mount" && v != "env" {
			return fmt.Errorf("type %s is invalid", v)
		}
		s.Kind = v
	case "target":
		s.Target = v
	case "uid":
		return number(&s.UID, 10)
	case "gid":
		return number(&s.GID, 10)
	case "mode":
		return number(&s.Mode, 8)
	default:
		return fmt.Errorf("option %s=%s is invalid", key, v)
	}
	return nil
}
