package volume

import (
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/sys/quota"
)

// canLimit refuses a size, in Docker's words and with the reason, where the file
// system cannot hold a volume to it.
func canLimit(s *Store, options map[string]string) error {
	if size, err := sizeOf(options); err != nil || size == 0 {
		return err
	}
	dir, err := os.Open(s.dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := quota.Check(dir); err != nil {
		return fault.New(fault.Unsupported, "quota size requested but no quota support: %w", err)
	}
	return nil
}

// limit gives a volume's new folder the size that its options ask for.
func limit(data string, options map[string]string) error {
	size, err := sizeOf(options)
	if err != nil || size == 0 {
		return err
	}
	dir, err := os.OpenFile(data, openFolder, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return quota.Limit(dir, size)
}

// dispose deletes a volume's folder, and the limit of its size before.
func dispose(home string) error {
	if dir, err := os.OpenFile(filepath.Join(home, dataFolder), openFolder, 0); err == nil {
		_ = quota.Lift(dir) // a limit that nobody has is in nobody's way
		dir.Close()
	}
	return os.RemoveAll(home)
}
