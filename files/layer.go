package files

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"berth/files/tree"
	"berth/sys/mount"
)

// PackLayer writes a folder of overlay, which others may be writing to, as the tar
// of a layer. It reads in the caller's own process, as nobody else may read
// overlay's xattrs; a device in it cannot be opened.
func PackLayer(ctx context.Context, w io.Writer, folder string) error {
	fd, err := mount.ClonePath(folder, false)
	if err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	defer unix.Close(fd)
	if err := mount.SetAttr(fd, mount.Attr{Set: quiet | unix.MOUNT_ATTR_RDONLY}, false); err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	if err := tree.Pack(ctx, w, &tree.Source{Dir: fd, Base: ".", WholeSeconds: true, Layer: true}); err != nil {
		return fmt.Errorf("read the layer %s: %w", folder, err)
	}
	return nil
}
