package volume

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/ids"
)

// CreateRequest asks for a volume.
type CreateRequest struct {
	Name      string // "" for a random one of 64 digits
	Driver    string // "" for local
	Labels    map[string]string
	Options   map[string]string
	Anonymous bool
	// Passing: it goes with a --rm container, and need not be on the disk when
	// Create returns.
	Passing bool
}

// Create makes a volume, or gives the one that has the name already, as it is;
// made tells which. Errors, in Docker's words: Invalid for a name or an option,
// NotFound for a driver.
func (s *Store) Create(ctx context.Context, r CreateRequest) (v *Volume, made bool, err error) {
	if r.Name == "" {
		r.Name = ids.Hex(32)
	}
	if err := CheckName(r.Name); err != nil {
		return nil, false, fmt.Errorf("create %s: %w", r.Name, err)
	}
	if r.Driver != "" && r.Driver != local {
		return nil, false, fault.New(fault.NotFound, "create %s: error looking up volume plugin %s: plugin %q not found", r.Name, r.Driver, r.Driver)
	}
	if err := checkOptions(r.Options); err != nil {
		return nil, false, fmt.Errorf("create %s: %w", r.Name, err)
	}
	if s.opts.NoMounts && !plain(r.Options) && !isBind(r.Options) {
		return nil, false, fault.New(fault.Unsupported, "create %s: a volume of type %s is mounted for all its users, and an ordinary user has no mount that lasts: use --tmpfs, or o=bind", r.Name, r.Options["type"])
	}
	if err := canLimit(s, r.Options); err != nil {
		return nil, false, fmt.Errorf("create %s: %w", r.Name, err)
	}
	lock, err := s.lock(r.Name)
	if err != nil {
		return nil, false, err
	}
	defer s.unlock(lock, r.Name)
	if v, err := s.Get(r.Name); err == nil || !fault.Is(err, fault.NotFound) {
		return v, false, err
	}
	v = &Volume{
		Version: recordVersion, Name: r.Name, Driver: local, Created: time.Now().UTC(), Labels: r.Labels, Options: r.Options,
		Anonymous: r.Anonymous, Data: s.data(r.Name),
	}
	if err := s.publish(v, !r.Passing); err != nil {
		return nil, false, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	return v, true, nil
}

// publish makes a volume's folder complete, then gives it its name.
func (s *Store) publish(v *Volume, durable bool) (err error) {
	staged := s.home(hidden + v.Name)
	// A create that was killed may have left it; we have the lock.
	if err := dispose(staged); err != nil {
		return err
	}
	if err := os.Mkdir(staged, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = dispose(staged)
		}
	}()
	data := filepath.Join(staged, dataFolder)
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask took
		return err
	}
	if err := limit(data, v.Options); err != nil {
		return err
	}
	if err := writeRecord(staged, v, durable); err != nil {
		return err
	}
	// What a removal that was killed left has no record; Get has said so.
	if err := dispose(s.home(v.Name)); err != nil {
		return err
	}
	if err := os.Rename(staged, s.home(v.Name)); err != nil {
		return err
	}
	staged = s.home(v.Name)
	if durable {
		return atomicfile.SyncDir(s.dir())
	}
	return nil
}

func writeRecord(home string, v *Volume, durable bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var opts []atomicfile.Option
	if durable {
		opts = append(opts, atomicfile.Sync)
	}
	return atomicfile.Write(filepath.Join(home, recordFile), b, 0o600, opts...)
}
