package container

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container/config"
)

// The files of a container's folders.
const (
	recordFile  = "record.json"
	summaryFile = "summary"
	lastFile    = "last.json"
	lifeFile    = "life.json"
	exitFile    = "exit.json"
)

// Caps on what is read: a record holds a seccomp profile and an environment.
const (
	maxRecord = 16 << 20
	maxFacts  = 1 << 20
)

// readJSON reads one of our files: kind NotFound if it is missing, Invalid if it
// is not what it should be.
func readJSON(path string, limit int64, into any) error {
	b, err := atomicfile.ReadCapped(path, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	return nil
}

// Warm has encoding/json look at the types of a container's files, which it does
// once in a program and which takes it a millisecond: for a verb that has to wait.
func Warm() {
	_, _ = json.Marshal(&Record{})
	_, _ = json.Marshal(&life{})
}

func writeJSON(path string, v any, opts ...atomicfile.Option) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.Write(path, b, 0o600, opts...)
}

// readRecord reads the record in a container's folder.
func readRecord(home string, id ID) (*Record, error) {
	var rec Record
	path := filepath.Join(home, recordFile)
	if err := readJSON(path, maxRecord, &rec); err != nil {
		return nil, err
	}
	if rec.ID != id || CheckName(rec.Name) != nil {
		return nil, fault.New(fault.Invalid, "read %s: it is the record of %.80q, named %.80q", path, rec.ID, rec.Name)
	}
	if rec.Version > recordVersion {
		return nil, fault.New(fault.Unsupported, "read %s: its version is %d, this program knows %d", path, rec.Version, recordVersion)
	}
	return &rec, nil
}

// summary is what lists show of a record.
func (r *Record) summary() *Summary {
	c := &r.Config
	s := &Summary{
		Version: recordVersion, ID: r.ID, Name: r.Name, Created: r.Created, Image: r.Image.Name, ImageID: r.Image.ID,
		Command: r.Resolved.Args(), Labels: r.Resolved.Labels, Expose: r.Resolved.Expose, Publish: c.Network.Publish,
		Restart: c.Restart, Health: r.Resolved.Health != nil, Remove: c.Life.Remove, User: r.Resolved.User, Groups: c.Process.Groups,
	}
	s.Networks = networks(&c.Network)
	for _, m := range r.Mounts {
		if m.Kind == config.MountTmpfs {
			continue
		}
		what := m.Name
		if what == "" {
			what = m.Source
		}
		s.Volumes = append(s.Volumes, what)
		s.Targets = append(s.Targets, m.Target)
	}
	return s
}

// networks names what a container is on, as ps shows and filters it.
func networks(n *config.Network) []string {
	if n.Mode != "" && n.Mode != "bridge" {
		return []string{n.Mode}
	}
	var out []string
	for _, e := range n.Networks() {
		out = append(out, e.Network)
	}
	return out
}
