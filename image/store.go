package image

import (
	"fmt"
	"path/filepath"

	"berth/image/library"
)

// Options says where a store is and whom it serves.
type Options struct {
	Root string // /var/lib/berth, or below a user's XDG_DATA_HOME
	Run  string // /run/berth, or below XDG_RUNTIME_DIR: mounts of images
	// UID is the user whose files of registries and credentials count.
	UID int
	// Podman switches names and credentials to podman's words.
	Podman bool
	// ConfigDir holds berth's own trust.toml and certs.d; "" is /etc/berth.
	ConfigDir string
	// Mirrors and Insecure are daemon.json's registry-mirrors and insecure-registries.
	Mirrors  []string
	Insecure []string
	// AuthFile is the credentials' file instead of the dialect's own.
	AuthFile string
	// Warn is told of what was skipped because it is broken; may be nil.
	Warn func(error)
}

// Store is one image store. It holds no state but open descriptors: another
// process may change everything between two calls.
type Store struct {
	opts Options
	lib  *library.Library
	dialect
}

// Open opens the store and makes its folders if they are missing.
func Open(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Root) || !filepath.IsAbs(o.Run) {
		return nil, fmt.Errorf("open image store %q: its folders need absolute paths", o.Root)
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	if o.ConfigDir == "" {
		o.ConfigDir = "/etc/berth"
	}
	lib, err := library.Open(o.Root, o.Warn)
	if err != nil {
		return nil, err
	}
	return &Store{opts: o, lib: lib, dialect: newDialect(o)}, nil
}

// Close gives back what Open took.
func (s *Store) Close() error { return s.lib.Close() }

// Lists is the part of the store that makes manifest lists by hand.
func (s *Store) Lists() *Lists { return &Lists{s} }

// Registries speaks to registries about things that are no images here.
func (s *Store) Registries() *Registries { return &Registries{s} }

// NewTrust is the policy of whom to believe, and signatures.
func NewTrust(s *Store) *Trust { return &Trust{s} }
