package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/image/content"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
	"berth/image/snapshot"
	"berth/image/unpack"
)

// Options says where a store is and whom it serves.
type Options struct {
	Root string // /var/lib/berth, or below a user's XDG_DATA_HOME
	Run  string // /run/berth, or below XDG_RUNTIME_DIR: mounts of images
	// Podman switches names and credentials to podman's words.
	Podman bool
	// ConfigDir holds berth's own trust.toml; "" is /etc/berth.
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
	opts    Options
	content *content.Store
	layers  *snapshot.Overlay
	names   *names.Store
	leases  *lease.Store
	// hosts and keeper read files that most verbs do not need.
	hosts  func() (*hosts.Table, error)
	keeper *credential.Keeper
}

// leaseLife is how long an interrupted pull can go on where it was.
const leaseLife = 24 * time.Hour

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
	locks := filepath.Join(o.Root, "locks")
	s := &Store{opts: o}
	if err := os.MkdirAll(filepath.Join(o.Root, "images"), 0o700); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	var err error
	if s.content, err = content.Open(content.Options{Dir: filepath.Join(o.Root, "content"), Locks: locks, Deferred: true, Bad: o.Warn}); err != nil {
		return nil, err
	}
	if s.layers, err = snapshot.Open(o.Root, snapshot.LaterSync(), snapshot.Report(o.Warn)); err != nil {
		return nil, err
	}
	if s.names, err = names.Open(names.Options{Dir: filepath.Join(o.Root, "names"), Locks: locks, Bad: o.Warn}); err != nil {
		return nil, err
	}
	if s.leases, err = lease.Open(lease.Options{Dir: filepath.Join(o.Root, "leases"), Locks: locks, Bad: o.Warn}); err != nil {
		return nil, err
	}
	s.hosts = sync.OnceValues(s.loadHosts)
	s.keeper = s.credentials(o.AuthFile)
	return s, nil
}

// Close gives back what Open took.
func (s *Store) Close() error { return s.content.Close() }

func (s *Store) loadHosts() (*hosts.Table, error) { return hosts.Load(s.hostOptions()) }

func (s *Store) hostOptions() hosts.Options {
	root := os.Geteuid() == 0
	o := hosts.Docker(os.Getenv, root)
	if s.opts.Podman {
		o = hosts.Podman(os.Getenv, root, func(path string) bool { _, err := os.Stat(path); return err == nil })
	}
	o.HostDirs = append(o.HostDirs, filepath.Join(s.opts.ConfigDir, "certs.d"))
	o.Mirrors = append(o.Mirrors, s.opts.Mirrors...)
	o.Insecure = append(o.Insecure, s.opts.Insecure...)
	return o
}

// credentials are those of the dialect, or of one file.
func (s *Store) credentials(file string) *credential.Keeper {
	files := credential.DockerFiles(os.Getenv)
	if s.opts.Podman {
		files = credential.PodmanFiles(os.Getenv, os.Getuid())
	}
	if file != "" {
		files = []string{file}
	}
	return credential.New(credential.Options{Files: files})
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.opts.Root}, elem...)...)
}

// held is the lease of one verb: what the verb makes or relies on belongs to it
// until everything is named.
type held struct {
	s  *Store
	id string
	// worker unpacks for the whole verb; it is started by the first layer.
	worker  func() (*unpack.Worker, error)
	started *unpack.Worker
}

// hold makes a lease. It lasts as long as this process, and a day at least, so
// that an interrupted pull can go on where it was.
func (s *Store) hold(ctx context.Context, verb string) (*held, error) {
	l, err := s.leases.Create(ctx, lease.WithOwner(), lease.WithExpiration(leaseLife), lease.WithLabels(map[string]string{"berth.verb": verb}))
	if err != nil {
		return nil, err
	}
	h := &held{s: s, id: l.ID}
	h.worker = sync.OnceValues(func() (*unpack.Worker, error) {
		var err error
		h.started, err = unpack.Start(ctx, unpack.Options{UserXattr: s.layers.OpaqueXattr() == "user.overlay.opaque"})
		return h.started, err
	})
	return h, nil
}

// end stops the worker. The lease stays, with all that it keeps.
func (h *held) end() {
	if h.started != nil {
		if err := h.started.Close(); err != nil {
			h.s.opts.Warn(err)
		}
		h.started = nil
	}
}

// release ends the verb and gives the lease back; what was not named is garbage
// from then on.
func (h *held) release(ctx context.Context) error {
	h.end()
	return h.s.leases.Delete(context.WithoutCancel(ctx), lease.Lease{ID: h.id})
}

// keep adds things of one type: before they are looked for or made.
func (h *held) keep(ctx context.Context, kind string, ids ...string) error {
	all := make([]lease.Resource, len(ids))
	for i, id := range ids {
		all[i] = lease.Resource{ID: id, Type: kind}
	}
	return h.s.leases.AddResources(ctx, lease.Lease{ID: h.id}, all...)
}

const keepLayer = lease.SnapshotType + snapshot.Name

// Lists is the part of the store that makes manifest lists by hand.
func (s *Store) Lists() *Lists { return &Lists{s} }

// Registries speaks to registries about things that are no images here.
func (s *Store) Registries() *Registries { return &Registries{s} }
