package files

import (
	"context"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"berth/files/tree"
	"berth/sys/mount"
)

// PackLayer writes the upper folder of overlay, which others may be writing to, as the
// tar of a layer. It reads in the caller's own process, as nobody else may read
// overlay's xattrs; a device in it cannot be opened.
func PackLayer(ctx context.Context, w io.Writer, l *Layers) error {
	folder := l.Upper
	fd, err := mount.ClonePath(folder, false)
	if err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	defer unix.Close(fd)
	if err := mount.SetAttr(fd, mount.Attr{Set: quiet | unix.MOUNT_ATTR_RDONLY}, false); err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	if err := tree.Pack(ctx, w, &tree.Source{Dir: fd, Base: ".", WholeSeconds: true, Layer: true, UserXattr: slices.Contains(l.Options, "userxattr"),
		UIDs: l.UIDs, GIDs: l.GIDs}); err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	return nil
}
