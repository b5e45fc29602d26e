package network

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
	"berth/network/ipam"
	"berth/network/nft"
)

// Store is the networks of one root and run folder.
type Store struct {
	builder
}

// builder makes networks: it decides what was left open, and has it made.
type builder struct {
	firewall
	records
}

// firewall keeps nft's table as the files say it shall be.
type firewall struct {
	folder
	table string
	ports string // how our ports' names begin
	alone bool   // others' firewalls are left as they are
}

// records are the networks that somebody made, and those built in.
type records struct {
	root     string
	settings Settings
}

// folder is what is true in this boot: the room's files in the run folder.
type folder struct {
	run, boot string
	live      func(container string) bool
}

// fileLimit is more than any file of ours has, in bytes: 65,535 single ports.
const fileLimit = 16 << 20

// usualRun is the run folder whose store has the firewall table of the plain
// name; others on the same host have their own.
const usualRun = "/run/berth"

// Open opens a store; it makes folders when it first needs them.
func Open(o Options) (*Store, error) {
	boot, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	if o.Live == nil {
		o.Live = func(string) bool { return true }
	}
	s := &Store{builder{
		firewall{folder{filepath.Join(o.Run, "network"), boot, o.Live}, nft.Table, nft.Ports, o.Settings.NoIntegrate},
		records{filepath.Join(o.Root, "networks"), o.Settings},
	}}
	if filepath.Clean(o.Run) != usualRun {
		sum := sha256.Sum256([]byte(filepath.Clean(o.Run)))
		s.table += "-" + hex.EncodeToString(sum[:4])
		s.ports = "ve" + hex.EncodeToString(sum[:2]) + "-"
	}
	return s, nil
}

func (s *firewall) dial() (*nft.Conn, error) { return nft.Open(s.table, s.ports) }

func (s *folder) book() *ipam.Book {
	return &ipam.Book{Dir: filepath.Join(s.run, "addresses"), Boot: s.boot, Live: s.live}
}

// lock takes one of the room's locks.
func (s *folder) lock(name string, how func(string) (*flock.Held, error)) (*flock.Held, error) {
	path := filepath.Join(s.run, "locks", name)
	held, err := how(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return held, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return how(path)
}

// put writes a file of the run folder.
func (s *folder) put(kind, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(s.run, kind, name+".json")
	err = atomicfile.Write(path, data, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// get reads a file of the run folder; found is false if there is none, or none
// of this boot.
func (s *folder) get(kind, name string, v interface{ bootID() string }) (found bool, err error) {
	path := filepath.Join(s.run, kind, name+".json")
	data, err := atomicfile.ReadCapped(path, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	return v.bootID() == s.boot, nil
}

func (s *folder) drop(kind, name string) error {
	err := os.Remove(filepath.Join(s.run, kind, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// names lists the files of a folder of the run folder.
func (s *folder) names(kind string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(s.run, kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	var out []string
	for _, e := range list {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !atomicfile.IsStaged(e.Name()) {
			out = append(out, name)
		}
	}
	return out, nil
}
