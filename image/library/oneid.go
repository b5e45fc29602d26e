package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"berth/image/snapshot"
	"berth/image/unpack"
)

// oneIDMark is a file of the store: layers were unpacked for a user with one id, who all
// files belong to; their owners are noted.
const oneIDMark = "one-id"

func noteOneID(l *Library) error {
	if hasOneID(l) {
		return nil
	}
	f, err := os.OpenFile(l.Path(oneIDMark), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("note that the user has one id: %w", err)
	}
	return f.Close()
}

// OneID reports whether layers were unpacked for a user with one id, and have their
// owners as notes still.
func (w *Writables) OneID() bool { return hasOneID(w.L) }

func hasOneID(l *Library) bool {
	_, err := os.Lstat(l.Path(oneIDMark))
	return err == nil
}

// Migrate gives the files of all layers and writable trees the owners that were noted
// where the user had one id, and tells how many these are. Nothing is mounted of them
// meanwhile. Repeated after a kill it goes on.
func (w *Writables) Migrate(ctx context.Context) (files int, err error) {
	l := w.L
	var keys []string
	err = l.Layers.Walk(ctx, func(_ context.Context, i snapshot.Info) error {
		if i.Kind != snapshot.View {
			keys = append(keys, i.Name)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		dir, err := l.Layers.Folder(ctx, key)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return files, err
		}
		n, err := unpack.Restore(ctx, dir)
		dir.Close()
		files += n
		if err != nil {
			return files, fmt.Errorf("give the files of layer %s their owners: %w", key, err)
		}
	}
	if err := l.Content.Sync(ctx); err != nil {
		return files, err
	}
	if err := os.Remove(l.Path(oneIDMark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files, err
	}
	return files, nil
}
