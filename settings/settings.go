// Package settings reads what the administrator and the user have written down:
// berth.toml, the keys of Docker's daemon.json, and the client's config.json.
// It gives plain values, never writes, keeps no secrets and opens nothing else;
// registries' own files belong to the image room. Row 3.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Settings is what was found; no file at all gives the defaults.
type Settings struct {
	// Root is the store's folder, Run that of the moment's state.
	Root, Run string
	// ConfigDir holds berth's own files: /etc/berth or below the user's XDG_CONFIG_HOME.
	ConfigDir string
	Mirrors   []string
	Insecure  []string
	// Platform is DOCKER_DEFAULT_PLATFORM.
	Platform   string
	Containers Containers
	Network    Network
	Uplink     Uplink
	Client     Client
	// ClientDir is where config.json is, or would be.
	ClientDir string
	// ClientError is why config.json was passed over.
	ClientError error
	// Unknown names keys that mean nothing, each with its file.
	Unknown []string
}

// Places says where to look. The zero value is this machine and this process.
type Places struct {
	UID    func() int
	Getenv func(string) string
	// Etc is /etc.
	Etc string
	// ClientDir is --config.
	ClientDir string
}

// fill puts this process's answers where none are given.
func (p *Places) fill() {
	if p.UID == nil {
		p.UID = os.Getuid
	}
	if p.Getenv == nil {
		p.Getenv = os.Getenv
	}
	p.Etc = cmp.Or(p.Etc, "/etc")
}

// sizeLimit is more than any honest settings file has, in bytes.
const sizeLimit = 1 << 20

// Load reads all settings. The user's berth.toml overrides the machine's, and
// both override daemon.json. A broken one of these is an error that names it.
func Load(p Places) (*Settings, error) {
	p.fill()
	s := &Settings{Platform: p.Getenv("DOCKER_DEFAULT_PLATFORM"), Network: Network{ICC: true, Masq: true, Relay: true, Integrate: true}}
	s.defaults(p)
	if err := s.daemon(p); err != nil {
		return nil, err
	}
	for _, file := range berthFiles(p) {
		if err := s.toml(file); err != nil {
			return nil, err
		}
	}
	s.client(p)
	return s, nil
}

// home is $HOME, or what passwd(5) says where nothing set it: cron, su, a service.
func home(p Places) string {
	if dir := p.Getenv("HOME"); dir != "" {
		return dir
	}
	if u, err := user.LookupId(strconv.Itoa(p.UID())); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return "/"
}

func (s *Settings) defaults(p Places) {
	s.Run = RunFolder(p)
	if p.UID() == 0 {
		s.Root, s.ConfigDir = "/var/lib/berth", filepath.Join(p.Etc, "berth")
		s.Network.DockerRoot = "/var/lib/docker"
		return
	}
	data := cmp.Or(p.Getenv("XDG_DATA_HOME"), filepath.Join(home(p), ".local/share"))
	s.Root = filepath.Join(data, "berth")
	s.ConfigDir = filepath.Join(userConfig(p), "berth")
}

// RunFolder is the run folder where no file names another one. A user's is the
// same from a login, from cron and from su, or each would take the other's
// containers for dead: $XDG_RUNTIME_DIR is looked for where systemd has it.
func RunFolder(p Places) string {
	p.fill()
	uid := p.UID()
	if uid == 0 {
		return "/run/berth"
	}
	if dir := p.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "berth")
	}
	if dir := "/run/user/" + strconv.Itoa(uid); unix.Access(dir, unix.W_OK|unix.X_OK) == nil {
		return filepath.Join(dir, "berth")
	}
	return filepath.Join("/tmp", "berth-run-"+strconv.Itoa(uid))
}

func userConfig(p Places) string {
	return cmp.Or(p.Getenv("XDG_CONFIG_HOME"), filepath.Join(home(p), ".config"))
}

// berthFiles are the places of berth.toml, the weaker one first.
func berthFiles(p Places) []string {
	files := []string{filepath.Join(p.Etc, "berth/berth.toml")}
	if p.UID() != 0 {
		files = append(files, filepath.Join(userConfig(p), "berth/berth.toml"))
	}
	return files
}

// read reads a settings file; no file is no bytes.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, sizeLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	if len(data) > sizeLimit {
		return nil, fmt.Errorf("read the settings: %s has more than %d bytes", file, sizeLimit)
	}
	return data, nil
}
