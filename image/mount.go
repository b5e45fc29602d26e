package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/image/snapshot"
)

// Root is an image's tree as a detached read-only mount, for callers that
// attach it in a namespace of their own.
func (s *Store) Root(ctx context.Context, nameOrID string) (*os.File, error) {
	img, _, err := findImage(ctx, s, nameOrID)
	if err != nil {
		return nil, err
	}
	// The mount keeps the folders; who asks has a container of this image, which keeps
	// the layers, or is about to make one.
	mounts, err := s.lib.Layers.Look(ctx, string(identity.ChainID(slices.Clone(img.Layers))))
	if err != nil {
		return nil, err
	}
	return mountTree(ctx, mounts, img.ID.String())
}

// viewTree mounts an image through the view of a key, which is made if it is not
// there.
func viewTree(ctx context.Context, s *Store, img Image, key string, opts ...snapshot.Opt) (*os.File, error) {
	chain := identity.ChainID(slices.Clone(img.Layers))
	mounts, err := s.lib.Layers.View(ctx, key, string(chain), opts...)
	if errdefs.IsAlreadyExists(err) {
		mounts, err = s.lib.Layers.Mounts(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	return mountTree(ctx, mounts, img.ID.String())
}

func mountTree(ctx context.Context, mounts []snapshot.Mount, name string) (*os.File, error) {
	fd, err := snapshot.MountTree(ctx, mounts)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (s *Store) mountPoint(id digest.Digest) string {
	return filepath.Join(s.opts.Run, "images", id.Encoded())
}

// Mount shows an image's tree read-only below the run folder, in the caller's
// mount namespace (podman image mount), and gives its path.
func (s *Store) Mount(ctx context.Context, nameOrID string) (path string, err error) {
	img, _, err := findImage(ctx, s, nameOrID)
	if err != nil {
		return "", err
	}
	path = s.mountPoint(img.ID)
	if mounted(path) {
		return path, nil
	}
	var u undo.Stack
	defer u.Unwind(&err)
	tree, err := viewTree(ctx, s, img, "mount-"+img.ID.Encoded(), snapshot.WithLabels(map[string]string{"containerd.io/gc.root": "mounted"}))
	if err != nil {
		return "", err
	}
	defer tree.Close()
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	u.Push("remove "+path, func() error { return os.Remove(path) })
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", fmt.Errorf("mount image %s on %s: %w", nameOrID, path, err)
	}
	return path, nil
}

func mounted(path string) bool {
	var self, above unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_MNT_ID, &self) != nil || unix.Statx(unix.AT_FDCWD, filepath.Dir(path), flags, unix.STATX_MNT_ID, &above) != nil {
		return false
	}
	return self.Mnt_id != above.Mnt_id
}

// Unmount takes back what Mount did. Kind Busy if it is in use, unless forced.
func (s *Store) Unmount(ctx context.Context, nameOrID string, force bool) error {
	img, _, err := findImage(ctx, s, nameOrID)
	if err != nil {
		return err
	}
	path := s.mountPoint(img.ID)
	if !mounted(path) {
		return fault.New(fault.NotFound, "image %s is not mounted", nameOrID)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if force {
		flags |= unix.MNT_DETACH
	}
	if err := unix.Unmount(path, flags); err != nil {
		return fmt.Errorf("unmount image %s from %s: %w", nameOrID, path, err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	err = s.lib.Layers.Remove(ctx, "mount-"+img.ID.Encoded())
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Mounted lists what Mount shows at the moment.
func (s *Store) Mounted(ctx context.Context) (map[digest.Digest]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.opts.Run, "images"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := map[digest.Digest]string{}
	for _, e := range entries {
		id := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if id.Validate() == nil && mounted(s.mountPoint(id)) {
			out[id] = s.mountPoint(id)
		}
	}
	return out, nil
}
