package ipam

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Book is the reservations of all networks. Each is one more name, made by
// link(2), of a file that names its owner and the boot in which that is true:
//
//	DIR/owners/OWNER
//	DIR/NETWORK/ADDRESS
//
// The caller holds its lock of the owner, and of the network where it says so.
type Book struct {
	Dir  string
	Boot string // of the running kernel (base/clock)
	// Live says whether an owner still exists; nil: all do.
	Live func(owner string) bool
}

// Range is where addresses of a network are looked for.
type Range struct {
	Network string
	Subnet  netip.Prefix
	Within  netip.Prefix // zero: the whole subnet
	// Not are addresses that are never given: the host's own, and others'.
	Not []netip.Addr
}

// ownerLimit is more than any owner file has, in bytes.
const ownerLimit = 4096

// Owners is the folder of the owners' files.
func (b *Book) Owners() string { return filepath.Join(b.Dir, "owners") }

func (b *Book) ownerFile(owner string) string { return filepath.Join(b.Owners(), owner) }

func (b *Book) addressFile(network string, a netip.Addr) string {
	return filepath.Join(b.Dir, network, a.String())
}

// owner makes the owner's file, or a new one if it is of another boot.
func (b *Book) owner(owner string) (string, error) {
	path := b.ownerFile(owner)
	if now, err := b.read(path); err == nil && now == owner {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, atomicfile.Write(path, []byte(owner+"\n"+b.Boot+"\n"), 0o600)
}

// read tells whose a file is: "" if it is of another boot.
func (b *Book) read(path string) (string, error) {
	data, err := atomicfile.ReadCapped(path, ownerLimit)
	if err != nil {
		return "", err
	}
	owner, boot, _ := strings.Cut(string(data), "\n")
	if strings.TrimSuffix(boot, "\n") != b.Boot {
		return "", nil
	}
	return owner, nil
}

// Take reserves one address. What the owner has already is no error; kind
// Conflict if another has it. A reservation of another boot, or of an owner that
// is no more, is taken over: for that the caller holds the network's lock.
func (b *Book) Take(owner string, r Range, a netip.Addr) error {
	if err := r.check(a); err != nil {
		return err
	}
	from, err := b.owner(owner)
	if err != nil {
		return fmt.Errorf("reserve address %s: %w", a, err)
	}
	to := b.addressFile(r.Network, a)
	for range 2 {
		err = b.link(from, to)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		has, readErr := b.read(to)
		switch {
		case errors.Is(readErr, fs.ErrNotExist):
			continue
		case readErr != nil:
			return fmt.Errorf("reserve address %s: %w", a, readErr)
		case has == owner:
			return nil
		case has != "" && (b.Live == nil || b.Live(has)):
			return fault.New(fault.Conflict, "Address already in use")
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take over address %s: %w", a, err)
		}
	}
	if err != nil {
		return fmt.Errorf("reserve address %s: %w", a, err)
	}
	return nil
}

// link makes the folder when it is missing.
func (b *Book) link(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		err = os.Link(from, to)
	}
	return err
}

// check refuses what no container can have.
func (r Range) check(a netip.Addr) error {
	if !r.Subnet.Contains(a) {
		return fault.New(fault.Invalid, "Invalid address %s: It does not belong to any of this network's subnets", a)
	}
	if !r.usable(a) {
		return fault.New(fault.Conflict, "Address already in use")
	}
	return nil
}

// usable excludes the subnet's own address, IPv4's broadcast address, and those
// in Not.
func (r Range) usable(a netip.Addr) bool {
	small := a.BitLen()-r.Subnet.Bits() < 2
	if !small && a == r.Subnet.Masked().Addr() || !small && a.Is4() && a == Last(r.Subnet) {
		return false
	}
	for _, n := range r.Not {
		if n == a {
			return false
		}
	}
	return true
}

// Next reserves the lowest free address: kind Unavailable if there is none. The
// caller holds the network's lock.
func (b *Book) Next(owner string, r Range) (netip.Addr, error) {
	within := r.Within
	if !within.IsValid() {
		within = r.Subnet
	}
	taken, err := b.taken(r.Network)
	if err != nil {
		return netip.Addr{}, err
	}
	for a := within.Masked().Addr(); a.IsValid() && within.Contains(a); a = a.Next() {
		if !r.usable(a) || taken[a.String()] {
			continue
		}
		err := b.Take(owner, r, a)
		if err == nil || !fault.Is(err, fault.Conflict) {
			return a, err
		}
	}
	// All are used up: look for those of another boot, or of owners that are gone.
	for name := range taken {
		a, err := netip.ParseAddr(name)
		if err != nil || !within.Contains(a) || !r.usable(a) {
			continue
		}
		if has, err := b.read(b.addressFile(r.Network, a)); err != nil || has == owner {
			continue // another endpoint of the same owner
		}
		if err := b.Take(owner, r, a); err == nil || !fault.Is(err, fault.Conflict) {
			return a, err
		}
	}
	return netip.Addr{}, fault.New(fault.Unavailable, "no available IPv4 addresses on this network's address pools: %s", r.Subnet)
}

// taken lists the names in a network's folder.
func (b *Book) taken(network string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(b.Dir, network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list reserved addresses: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list reserved addresses: %w", err)
	}
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set, nil
}

// Give gives an address back if owner has it.
func (b *Book) Give(owner, network string, a netip.Addr) error {
	path := b.addressFile(network, a)
	if has, err := b.read(path); err != nil || has != owner {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give address %s back: %w", a, err)
	}
	return nil
}

// Forget removes the owner's file, and addresses that were not given back: who
// reserved them was killed before it wrote them down.
func (b *Book) Forget(owner string) error {
	path := b.ownerFile(owner)
	var own unix.Stat_t
	if err := unix.Lstat(path, &own); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return fmt.Errorf("forget the addresses of %s: %w", owner, err)
	}
	if own.Nlink > 1 {
		if err := b.giveAll(own.Ino, path); err != nil {
			return fmt.Errorf("forget the addresses of %s: %w", owner, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// giveAll removes all names of a file but one.
func (b *Book) giveAll(inode uint64, but string) error {
	return filepath.WalkDir(b.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || path == but {
			return err
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Ino != inode {
			return nil
		}
		return os.Remove(path)
	})
}

// Clear removes the folder of a network that is no more.
func (b *Book) Clear(network string) error {
	if err := os.RemoveAll(filepath.Join(b.Dir, network)); err != nil {
		return fmt.Errorf("remove the reserved addresses: %w", err)
	}
	return nil
}
