package network

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"berth/base/clock"
	"berth/network/folder"
	"berth/network/home"
	"berth/network/ipam"
	"berth/network/nft"
	"berth/network/record"
)

// Store is the networks of one root and run folder.
type Store struct {
	builder
}

// builder makes networks: it decides what was left open, and has it made.
type builder struct {
	firewall
	records record.Records
}

// firewall keeps nft's table as the files say it shall be.
type firewall struct {
	boot
	table string
	ports string // how our ports' names begin
	alone bool   // others' firewalls are left as they are
}

// boot is what is true in this boot.
type boot struct {
	files folder.Folder
	live  func(container string) bool
	at    home.Place
}

// usualRun is the run folder whose store has the firewall table of the plain
// name; others on the same host have their own.
const usualRun = "/run/berth"

// Open opens a store; it makes folders when it first needs them.
func Open(o Options) (*Store, error) {
	id, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	if o.Live == nil {
		o.Live = func(string) bool { return true }
	}
	s := &Store{builder{
		firewall{boot{folder.Folder{Run: filepath.Join(o.Run, "network"), Boot: id}, o.Live, home.Place{Home: o.Home}}, nft.Table, nft.Ports, o.Settings.NoIntegrate || o.Home != nil},
		record.Records{Root: filepath.Join(o.Root, "networks"), Settings: o.Settings},
	}}
	if filepath.Clean(o.Run) != usualRun {
		sum := sha256.Sum256([]byte(filepath.Clean(o.Run)))
		s.table += "-" + hex.EncodeToString(sum[:4])
		s.ports = "ve" + hex.EncodeToString(sum[:2]) + "-"
	}
	return s, nil
}

func (s *boot) book() *ipam.Book {
	return &ipam.Book{Dir: filepath.Join(s.files.Run, "addresses"), Boot: s.files.Boot, Live: s.live}
}
