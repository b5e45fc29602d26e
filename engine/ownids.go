package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/image"
	"berth/sys/safepath"
)

// An ordinary user's container shares the user's namespace, or has one of its own inside
// it with --userns=private, keep-id, nomap and auto. No mount of a user's can be id-mapped,
// so what ids it has is settled at create, and its layers are a copy that belongs to them
// (docs/decisions/0022).

// ownIDs settles the ids of an ordinary user's container; those of auto takePart does.
func ownIDs(ctx context.Context, e *Engine, c *config.Config) (choice container.UsernsChoice, err error) {
	mode := c.Namespaces.User
	name, _, _ := strings.Cut(mode, ":")
	if slices.Contains([]string{"private", "keep-id", "nomap", "auto"}, name) {
		if e.Defaults.Person == nil {
			return choice, fault.New(fault.Unsupported, "--userns=%s: containers share the ids of the one that berth runs in", mode)
		}
		p, err := e.Defaults.Person()
		if err != nil {
			return choice, err
		}
		choice.Private, choice.Part = true, name == "auto"
		if choice.Size, err = container.UsersSize(c); err != nil {
			return choice, err
		}
		if choice.UIDs, choice.GIDs, err = container.OwnIDs(mode, p); err != nil {
			return choice, err
		}
	}
	id, ok := joined(c)
	if !ok {
		return choice, nil
	}
	other, err := e.Containers.Get(ctx, id)
	if fault.Is(err, fault.NotFound) { // that of the network may come later
		return choice, nil
	}
	if err != nil {
		return choice, err
	}
	own := choice
	choice = other.Userns
	choice.Private = false // it is the other one's
	if own.Private && (own.Part || !own.Has(choice.UIDs, choice.GIDs)) {
		return choice, fault.New(fault.Invalid, "--userns=%s: container %s, whose namespaces it shares, has other ids, or shares the user's", mode, other.Name)
	}
	return choice, nil
}

// joined names the container whose user namespace one joins with another namespace.
func joined(c *config.Config) (id string, ok bool) {
	n := &c.Namespaces
	for _, mode := range []string{n.User, c.Network.Mode, n.PID, n.IPC} {
		if id, ok := strings.CutPrefix(mode, "container:"); ok {
			return id, true
		}
	}
	return "", false
}

// takePart settles the ids of an ordinary user's container with --userns=auto. Nobody else
// gets a part until done is called, which is when the record is there.
func takePart(ctx context.Context, e *Engine, rec *container.Record, u *undo.Stack) (done func(), err error) {
	users := &rec.Userns
	if !users.Part || !users.Private {
		return func() {}, nil
	}
	p, err := e.Defaults.Person()
	if err != nil {
		return nil, err
	}
	size := users.Size
	if size == 0 {
		largest, err := largestOf(ctx, e, rec.Image.ID)
		if err != nil {
			return nil, err
		}
		size = container.PartSize(&rec.Config, &rec.Resolved, largest)
	}
	uids, gids := p.IDs()
	first, done, err := e.Parts.Take(string(rec.ID), size, min(uids, gids)-1)
	if err != nil {
		return nil, fmt.Errorf("--userns=%s: %w", rec.Config.Namespaces.User, err)
	}
	u.Push("give the ids back", func() error { return e.Parts.Give(string(rec.ID)) })
	one := []specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: size}}
	users.UIDs, users.GIDs = container.Within(one, p.UIDs), container.Within(one, p.GIDs)
	return done, nil
}

// givePart gives back what takePart took, unless another container lives on with it.
func givePart(ctx context.Context, e *Engine, rec *container.Record) error {
	if !rec.Userns.Part {
		return nil
	}
	all, err := e.Containers.List(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		other, err := e.Containers.Get(ctx, string(all[i].ID))
		if err == nil && other.ID != rec.ID && other.Userns.Has(rec.Userns.UIDs, rec.Userns.GIDs) {
			return e.Parts.Pass(string(rec.ID), string(other.ID))
		}
	}
	return e.Parts.Give(string(rec.ID))
}

// nobodyID is a user of no one's, which is beyond what a small range has.
const nobodyID = 65534

// maxNames bounds what is read of an image's passwd and group.
const maxNames = 1 << 20

// largestOf is the largest id that an image names in passwd and group, but nobody's.
func largestOf(ctx context.Context, e *Engine, id string) (largest uint32, err error) {
	root, err := e.Images.Root(ctx, id)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	for _, name := range []string{"etc/passwd", "etc/group"} {
		text, err := readBelow(int(root.Fd()), name)
		if err != nil {
			return 0, fmt.Errorf("read %s of the image: %w", name, err)
		}
		for line := range strings.Lines(text) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			for _, f := range fields[min(2, len(fields)):min(4, len(fields))] {
				if n, err := strconv.ParseUint(f, 10, 16); err == nil && n != nobodyID {
					largest = max(largest, uint32(n))
				}
			}
		}
	}
	return largest, nil
}

// readBelow reads a regular file of an image, "" for what is none.
func readBelow(root int, name string) (string, error) {
	fd, err := safepath.OpenInRoot(root, name, unix.O_RDONLY|unix.O_NONBLOCK)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO:
		return "", nil
	default:
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxNames))
	return string(b), err
}

// settledIDs are those of a container's next start.
func settledIDs(ctx context.Context, e *Engine, rec *container.Record) (*container.Range, error) {
	users := &rec.Userns
	if id, ok := joined(&rec.Config); ok && !users.Private {
		other, err := e.Containers.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if !other.Userns.Has(users.UIDs, users.GIDs) {
			return nil, fault.New(fault.Conflict, "container %s was made with other ids than those of %s, whose namespaces it shares: make it anew", rec.Name, other.Name)
		}
	}
	return &container.Range{UIDs: users.UIDs, GIDs: users.GIDs}, nil
}

// ownersOf are whose the layers of a container are; nil where the store's are right.
func ownersOf(rec *container.Record) *image.Owners {
	users := &rec.Userns
	if !users.Settled() || container.SameIDs(users.UIDs, users.GIDs) || single(users.UIDs) {
		return nil
	}
	return &image.Owners{UIDs: forClone(users.UIDs), GIDs: forClone(users.GIDs), Once: users.Part}
}

// single: a user without subordinate ids has one, which all files belong to.
func single(list []specs.LinuxIDMapping) bool { return len(list) == 1 && list[0].Size == 1 }

func forClone(list []specs.LinuxIDMapping) (out []syscall.SysProcIDMap) {
	for _, m := range list {
		out = append(out, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return out
}

// ownVolume gives a volume that nobody has filled to the container's root where its owner,
// the user, has no id in the container.
func ownVolume(rec *container.Record, m *container.MountPoint) error {
	if ownersOf(rec) == nil || m.Driver != "local" || len(m.Asked.VolumeOpts) > 0 {
		return nil
	}
	for _, one := range rec.Userns.UIDs {
		if one.HostID == 0 {
			return nil
		}
	}
	dir, err := os.OpenFile(m.Source, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("give volume %s to the container: %w", m.Name, err)
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil || st.Uid != 0 {
		return err
	}
	return dir.Chown(rootIn(rec.Userns.UIDs), rootIn(rec.Userns.GIDs))
}
