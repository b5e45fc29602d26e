package snapshot

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Folder opens the folder with a snapshot's own files, to look at them. The
// file is the caller's. Error: errdefs.ErrNotFound.
func (o *Overlay) Folder(ctx context.Context, key string) (*os.File, error) {
	rec, err := o.load(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(o.upper(rec.ID), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", key, err)
	}
	return f, nil
}
