package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
)

// Attached is where a container finds a volume's data.
type Attached struct {
	Path     string
	ReadOnly bool
}

// Attach makes a volume's data ready for a container. A plain one is its folder, a
// bind the folder that it names; any other file system is mounted on _data, for
// all its users together, until Detach.
func (s *Store) Attach(ctx context.Context, name string) (Attached, error) {
	lock, err := s.lock(name)
	if err != nil {
		return Attached{}, err
	}
	defer s.unlock(lock, name)
	v, err := s.Get(name)
	if err != nil {
		return Attached{}, err
	}
	if plain(v.Options) {
		return Attached{Path: v.Data}, nil
	}
	opts, err := parse(v.Options)
	if err != nil {
		return Attached{}, err
	}
	at := Attached{Path: v.Data, ReadOnly: opts.Attr.Set&unix.MOUNT_ATTR_RDONLY != 0}
	failed := func(err error) (Attached, error) {
		return Attached{}, fmt.Errorf("failed to mount local volume: mount %s:%s: %w", v.Options["device"], v.Data, err)
	}
	if isBind(v.Options) {
		at.Path = v.Options["device"]
		if _, err := os.Stat(at.Path); err != nil {
			return failed(errno(err))
		}
		return at, nil
	}
	if mounted(v.Data) {
		return at, nil
	}
	if err := mountOn(ctx, v, opts); err != nil {
		return failed(err)
	}
	return at, nil
}

// errno takes the words in front of an error of the kernel away.
func errno(err error) error {
	var no unix.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// mountOn mounts a file system on _data.
func mountOn(ctx context.Context, v *Volume, o *mount.Options) error {
	params := append(o.Flags, o.Data...)
	if strings.HasPrefix(v.Options["type"], "nfs") {
		if err := resolve(ctx, params); err != nil {
			return err
		}
	}
	if o.Attr.Set&unix.MOUNT_ATTR_RDONLY != 0 && v.Options["type"] != "tmpfs" {
		params = append(params, mount.Param{Key: "ro", Flag: true})
	}
	tree, err := mount.New(v.Options["type"], v.Options["device"], params, o.Attr.Set)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	target, err := unix.Open(v.Data, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return mount.Attach(tree, target)
}

// resolve turns the server's name of addr= into an address, which is what the
// kernel takes.
func resolve(ctx context.Context, params []mount.Param) error {
	for i := range params {
		p := &params[i]
		if p.Key != "addr" || net.ParseIP(p.Value) != nil {
			continue
		}
		found, err := net.DefaultResolver.LookupIPAddr(ctx, p.Value)
		if err != nil {
			return fmt.Errorf("error resolving passed in network volume address: %w", err)
		}
		p.Value = found[0].String()
	}
	return nil
}

// Detach unmounts what Attach mounted, when the last user is gone, which inUse
// tells. A volume in use, or without a mount, is left as it is.
func (s *Store) Detach(ctx context.Context, name string, inUse InUse) error {
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer s.unlock(lock, name)
	v, err := s.Get(name)
	if err != nil || plain(v.Options) || isBind(v.Options) {
		return err
	}
	if users, err := inUse(name); err != nil || len(users) > 0 {
		return err
	}
	return unmount(v.Data)
}

func unmount(data string) error {
	if !mounted(data) {
		return nil
	}
	if err := unix.Unmount(data, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount volume %s: %w", data, err)
	}
	return nil
}

// mounted reports whether something is mounted on a folder.
func mounted(path string) bool {
	var self, above unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_MNT_ID, &self) != nil || unix.Statx(unix.AT_FDCWD, path+"/..", flags, unix.STATX_MNT_ID, &above) != nil {
		return false
	}
	return self.Mnt_id != above.Mnt_id
}
