package volume

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Usage counts the bytes that a volume's data take on the disk; files with
// several names count once. Other file systems below it do not count.
func (s *Store) Usage(ctx context.Context, name string) (int64, error) {
	v, err := s.Get(name)
	if err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(v.Data)
	if err != nil {
		return 0, fmt.Errorf("count volume %s: %w", name, err)
	}
	defer root.Close()
	var total int64
	var dev uint64
	seen := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil // gone, or not ours to read
		}
		info, err := root.Lstat(path)
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if path == "." {
			dev = st.Dev
		}
		if st.Dev != dev {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() && st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
