package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
)

// Options says where a store is.
type Options struct {
	Root string // /var/lib/berth, or below a user's XDG_DATA_HOME
	Run  string // /run/berth, or below XDG_RUNTIME_DIR
	// Warn is told of records that were skipped because they are broken; may be nil.
	Warn func(error)
}

// Store is the containers of one user. It holds no state: another process may
// change everything between two calls.
type Store struct {
	*disk
	names book
}

// disk is where everything lies, and the facts that are read there.
type disk struct {
	opts Options
	boot string // the id of this boot
}

// Open opens the store and makes its folders if they are missing. The first one
// of a boot puts the names in order and drops what the last boot left in the
// run folder.
func Open(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Root) || !filepath.IsAbs(o.Run) {
		return nil, fault.New(fault.Invalid, "open container store %q: its folders need absolute paths", o.Root)
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	boot, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	d := &disk{opts: o, boot: boot}
	s := &Store{disk: d, names: book{d}}
	if s.ready() {
		return s, nil
	}
	for _, dir := range []string{s.kept(), s.namesDir(), s.running(), s.exits(), s.locks()} {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return nil, fmt.Errorf("open container store: %w", err)
		}
	}
	return s, s.begin()
}

func (s *disk) kept() string     { return filepath.Join(s.opts.Root, "containers/d") }
func (s *disk) namesDir() string { return filepath.Join(s.opts.Root, "containers/names") }
func (s *disk) running() string  { return filepath.Join(s.opts.Run, "containers") }
func (s *disk) exits() string    { return filepath.Join(s.opts.Run, "exits") }
func (s *disk) locks() string    { return filepath.Join(s.opts.Run, "locks/containers") }

// bootFile, in the run folder, names the boot whose state that has, and the store
// that was put in order for it; in the store the boot, and the run folder that its
// containers have.
const bootFile = ".boot"

// ready reports whether somebody opened this store in this boot, and it is
// still there.
func (s *Store) ready() bool {
	if _, err := os.Lstat(s.namesDir()); err != nil {
		return false
	}
	return begun(s.disk) && marked(s.disk, filepath.Dir(s.kept())) == s.opts.Run
}

// begun reports whether the run folder was put in order for this store in this boot.
func begun(s *disk) bool { return marked(s, s.running()) == s.opts.Root }

// begin is the first Open of a boot.
func (s *Store) begin() error {
	lock, err := flock.Lock(filepath.Join(s.locks(), bootFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if s.ready() {
		return nil
	}
	if err := elsewhere(s.disk); err != nil {
		return err
	}
	if !begun(s.disk) {
		if err := putInOrder(s); err != nil {
			return err
		}
	}
	if err := dropStaged(filepath.Dir(s.kept())); err != nil {
		return err
	}
	// A full disk is no reason to open nothing: the next Open tries again.
	if err := mark(s.disk, filepath.Dir(s.kept()), s.opts.Run); !fault.Is(err, fault.NoSpace) {
		return err
	}
	return nil
}

// putInOrder drops what the last boot left.
func putInOrder(s *Store) error {
	if err := stranger(s.disk); err != nil {
		return err
	}
	for _, dir := range []string{s.running(), s.exits()} {
		if err := empty(dir); err != nil {
			return fmt.Errorf("drop what the last boot left: %w", err)
		}
	}
	if _, err := s.names.tidyNames(true); err != nil {
		return fmt.Errorf("put the names of containers in order: %w", err)
	}
	if err := dropStaged(s.kept()); err != nil {
		return err
	}
	return mark(s.disk, s.running(), s.opts.Root)
}

// stranger refuses a run folder in which containers of another store are alive:
// their monitors would write into folders that are gone.
func stranger(s *disk) error {
	root := marked(s, s.running())
	if root == "" || root == s.opts.Root {
		return nil
	}
	runs, err := anyRuns(s)
	if err == nil && runs {
		err = fault.New(fault.Conflict, "open container store %s: its run folder %s has running containers of the store %s: name another one by --runroot", s.opts.Root, s.opts.Run, root)
	}
	return err
}

// elsewhere refuses a store whose containers are alive in another run folder: here
// they would seem to have been lost.
func elsewhere(s *disk) error {
	run := marked(s, filepath.Dir(s.kept()))
	if run == "" || run == s.opts.Run {
		return nil
	}
	there := &disk{opts: Options{Root: s.opts.Root, Run: run, Warn: s.opts.Warn}, boot: s.boot}
	runs, err := anyRuns(there)
	if err == nil && runs {
		err = fault.New(fault.Conflict, "open container store %s: its running containers have the run folder %s, not %s: name that one by --runroot", s.opts.Root, run, s.opts.Run)
	}
	return err
}

// mark writes the boot file in dir, which names a folder.
func mark(s *disk, dir, path string) error {
	return atomicfile.Write(filepath.Join(dir, bootFile), []byte(s.boot+" "+path+"\n"), 0o600)
}

// marked reads the folder that a boot file names, "" if it is of another boot.
func marked(s *disk, dir string) string {
	b, err := atomicfile.ReadCapped(filepath.Join(dir, bootFile), 8192)
	boot, path, _ := strings.Cut(strings.TrimSuffix(string(b), "\n"), " ")
	if err != nil || boot != s.boot {
		return ""
	}
	return path
}

// anyRuns tells whether a container with a folder in the run folder is alive.
func anyRuns(s *disk) (bool, error) {
	ids, err := idsIn(s.running())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if facts, err := s.facts(id); err != nil || facts.Alive || facts.Watched {
			return true, nil
		}
	}
	return false, nil
}

// empty removes what is in a folder of the run folder.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// hidden marks folders that are being made or removed, and files that are being written
// (base/atomicfile).
const hidden = ".stage-"

// dropStaged removes what a killed create, remove or mark left in a folder. Nobody else is
// at work.
func dropStaged(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), hidden) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Home is the container's own folder: record, hostname, hosts, resolv.conf, log.
func (s *disk) Home(id ID) string {
	kept := filepath.Join(s.kept(), string(id))
	if _, err := os.Lstat(kept); err == nil {
		return kept
	}
	return s.RunDir(id)
}

// Future is the Home of a container that is about to be made.
func (s *disk) Future(id ID, passing bool) string {
	if passing {
		return s.RunDir(id)
	}
	return filepath.Join(s.kept(), string(id))
}

// RunDir is the container's folder in the run folder: monitor.sock, exit.json.
// Prepare makes it.
func (s *disk) RunDir(id ID) string { return filepath.Join(s.running(), string(id)) }

// SandboxNote is the file that tells who lives on in the network of a container of a name
// that was removed.
func (s *Store) SandboxNote(name string) string { return filepath.Join(s.opts.Run, "sandboxes", name) }

// ProfileNote is a store's file for what was loaded into the kernel for containers.
func ProfileNote(s *Store) string { return filepath.Join(s.opts.Run, "apparmor") }

// MountPoint is where a container's files are shown on the host, if a verb does so.
func (s *disk) MountPoint(id ID) string { return filepath.Join(s.opts.Run, "mounts", string(id)) }

// present lists the ids of all containers: kept ones, and passing ones, which
// are in the run folder alone. Few of the latter may be folders without a record.
func (s *disk) present() (kept, passing []ID, err error) {
	kept, passing, _, err = s.everywhere()
	return kept, passing, err
}

// everywhere is present, and ran: the kept ones that are in the run folder, too.
func (s *disk) everywhere() (kept, passing []ID, ran map[ID]bool, err error) {
	if kept, err = idsIn(s.kept()); err != nil {
		return nil, nil, nil, err
	}
	known := make(map[ID]bool, len(kept))
	for _, id := range kept {
		known[id] = true
	}
	all, err := idsIn(s.running())
	if err != nil {
		return nil, nil, nil, err
	}
	ran = make(map[ID]bool, len(all))
	for _, id := range all {
		if known[id] {
			ran[id] = true
		} else {
			passing = append(passing, id)
		}
	}
	return kept, passing, ran, nil
}

// idsIn lists the entries of a folder that are ids.
func idsIn(dir string) ([]ID, error) {
	names, err := atomicfile.Names(dir)
	if err != nil {
		return nil, err
	}
	out := make([]ID, 0, len(names))
	for _, name := range names {
		if isID(name) {
			out = append(out, ID(name))
		}
	}
	return out, nil
}

// isID reports whether a name is an id as New makes it.
func isID(name string) bool { return len(name) == 64 && isHex(name) }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// gone reports whether err says that a file is not there.
func gone(err error) bool {
	return fault.Is(err, fault.NotFound)
}

// removeFile removes a file that may be missing.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Exists tells whether a container has a record, by its id. It takes no lock.
func (s *Store) Exists(id ID) bool { return s.exists(id) }

// Ranges hands out ids of the host to this store's containers.
func (s *Store) Ranges() *Ranges {
	return &Ranges{Dir: filepath.Join(s.opts.Run, "ids"), Alive: func(owner string) bool { return s.exists(ID(owner)) }, Etc: "/etc"}
}

// PartsOf hands out parts of an ordinary user's ids to a store's containers.
func PartsOf(s *Store) *Parts { return parts(s, "ids") }

// LevelsOf hands out SELinux's levels to the store's containers.
func LevelsOf(s *Store) *Parts { return parts(s, "levels") }

func parts(s *Store, dir string) *Parts {
	return &Parts{Dir: filepath.Join(s.opts.Root, dir), Alive: func(owner string) bool { return s.exists(ID(owner)) }}
}
