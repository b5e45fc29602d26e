// Package idrange hands out ranges of 65,536 user and group ids of the host, one
// to each running container, so that no two containers share an owner. It maps
// nothing and changes no owner of a file. Row 3, inside room container.
//
// A range is reserved by a symbolic link whose name is the range and whose text
// is the boot and the owner: made in one step, by one of many, complete at
// birth. It is removed, and taken over once its owner is gone, under one lock.
//
//	DIR/7a31 -> "BOOT-ID OWNER"
//	DIR/lock
//
// The ranges lie between what SSSD gives to users of a directory (below
// 2,000,200,000) and the ids that systemd keeps for itself (from 0x7ffe0000), clear
// of systemd-nspawn's own (0x80000 to 0x6fffffff) and of what tools give to
// subuid(5). A range in which a user, a group or a subordinate range of this
// host lies is skipped.
package idrange

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
)

// Size is how many ids a range has.
const Size = 65536

// The ranges, as numbers of 65,536 ids.
const (
	firstSlot = 0x7739
	endSlot   = 0x7ffe
	slots     = endSlot - firstSlot
)

// Count is how many ranges there are, those of the host's own ids too.
func Count() int { return slots }

// Range is what one container has, as maps for its user namespace.
type Range struct {
	First uint32                 `json:"first"`
	UIDs  []specs.LinuxIDMapping `json:"uids"`
	GIDs  []specs.LinuxIDMapping `json:"gids"`
}

// Ranges is the set of ranges of this host.
type Ranges struct {
	Dir string // RUN/ids
	// Alive tells whether a range's owner still exists.
	Alive func(owner string) bool
	// Etc is /etc, where passwd, group, subuid and subgid are.
	Etc string
}

// maxLarge bounds the ids above the range that one container names; the kernel
// takes 340 lines in all.
const maxLarge = 300

// Take reserves a range for an owner, a word without blanks, of which size ids are
// mapped, 0 for all, and one id more for each of uids and gids, which lie above those
// inside. Errors: Unavailable when all are taken, Invalid for too many or wrong ids.
func (r *Ranges) Take(owner string, size uint32, uids, gids []uint32) (*Range, error) {
	if size == 0 || size > Size {
		size = Size
	}
	for _, list := range [][]uint32{uids, gids} {
		if len(list) > maxLarge {
			return nil, fault.New(fault.Invalid, "reserve ids: %d ids above %d, more than %d", len(list), size-1, maxLarge)
		}
		for _, id := range list {
			if id < size || id == 1<<32-1 {
				return nil, fault.New(fault.Invalid, "reserve ids: %d is not an id above the range", id)
			}
		}
	}
	t, err := r.taker(owner)
	if err != nil {
		return nil, err
	}
	first, err := t.next()
	if err != nil {
		return nil, err
	}
	out := &Range{First: first}
	one := specs.LinuxIDMapping{ContainerID: 0, HostID: first, Size: size}
	out.UIDs, out.GIDs = []specs.LinuxIDMapping{one}, []specs.LinuxIDMapping{one}
	if len(uids)+len(gids) == 0 {
		return out, nil
	}
	// The single ids come from a second range.
	more, err := t.next()
	if err != nil {
		return nil, errors.Join(err, r.Give(owner, out))
	}
	out.UIDs, out.GIDs = single(out.UIDs, uids, more), single(out.GIDs, gids, more)
	return out, nil
}

// single appends a mapping of one id for each id inside.
func single(list []specs.LinuxIDMapping, inside []uint32, outside uint32) []specs.LinuxIDMapping {
	inside = slices.Clone(inside)
	slices.Sort(inside)
	for i, id := range slices.Compact(inside) {
		list = append(list, specs.LinuxIDMapping{ContainerID: id, HostID: outside + uint32(i), Size: 1})
	}
	return list
}

// taker walks the ranges for one owner.
type taker struct {
	r    *Ranges
	text string // of our links
	boot string
	host map[int]bool
	at   int // slots looked at so far
	from int
}

func (r *Ranges) taker(owner string) (*taker, error) {
	if owner == "" || strings.ContainsAny(owner, " \n\x00") {
		return nil, fault.New(fault.Invalid, "reserve ids: %.80q is no owner", owner)
	}
	boot, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	host, err := hostIDs(r.Etc)
	if err != nil {
		return nil, fmt.Errorf("reserve ids: %w", err)
	}
	// Owners begin at different places: the first try is nearly always free, and
	// an owner that starts again nearly always gets what it had.
	h := fnv.New32a()
	_, _ = h.Write([]byte(owner))
	return &taker{r: r, boot: boot, text: boot + " " + owner, host: host, from: int(h.Sum32() % slots)}, nil
}

// next reserves one range and returns its first id. One that the owner has from
// a start that was killed is its own.
func (t *taker) next() (uint32, error) {
	if !guardIDRange {
		return firstSlot * Size, nil
	}
	for t.at < slots {
		slot := firstSlot + (t.from+t.at)%slots
		t.at++
		if t.host[slot] {
			continue
		}
		ok, err := t.try(slot)
		if err != nil {
			return 0, fmt.Errorf("reserve ids: %w", err)
		}
		if ok {
			return uint32(slot) * Size, nil
		}
	}
	return 0, fault.New(fault.Unavailable, "reserve ids: all %d ranges of %d ids are taken", slots, Size)
}

func (r *Ranges) link(slot int) string { return filepath.Join(r.Dir, fmt.Sprintf("%04x", slot)) }

func (t *taker) try(slot int) (bool, error) {
	path := t.r.link(slot)
	err := os.Symlink(t.text, path)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(t.r.Dir, 0o700); err == nil {
			err = os.Symlink(t.text, path)
		}
	}
	if err == nil {
		return true, nil
	}
	if !os.IsExist(err) {
		return false, err
	}
	text, err := os.Readlink(path)
	if err == nil && text == t.text {
		return true, nil
	}
	if err == nil && t.lives(text) {
		return false, nil
	}
	return t.takeOver(path)
}

// lives reports whether the owner in a link's text still exists.
func (t *taker) lives(text string) bool {
	boot, owner, ok := strings.Cut(text, " ")
	return ok && boot == t.boot && t.r.Alive(owner)
}

// takeOver removes a dead owner's link and makes ours. Links are removed under
// the lock alone, so what is looked at stays what it is.
func (t *taker) takeOver(path string) (bool, error) {
	lock, err := flock.Lock(filepath.Join(t.r.Dir, "lock"))
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	text, err := os.Readlink(path)
	switch {
	case os.IsNotExist(err):
	case err != nil:
		return false, err
	case t.lives(text):
		return false, nil
	default:
		if err := os.Remove(path); err != nil {
			return false, err
		}
	}
	err = os.Symlink(t.text, path)
	if os.IsExist(err) {
		return false, nil // somebody was faster
	}
	return err == nil, err
}

// Give gives an owner's ranges back; what it has not is no error. Without a
// range all links are looked through.
func (r *Ranges) Give(owner string, have *Range) error {
	return r.change("give ids back", owner, have, func(_, path string) error { return os.Remove(path) })
}

// Pass makes another the owner of all ranges of one, in one step each: it lives on in
// them. That there are none is no error.
func (r *Ranges) Pass(from, to string) error {
	return r.change("pass ids on", from, nil, func(boot, path string) error {
		// Not removed first: whoever looks for a range does so without the lock.
		staged := filepath.Join(r.Dir, ".passed")
		if err := os.Remove(staged); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(boot+" "+to, staged); err != nil {
			return err
		}
		return os.Rename(staged, path)
	})
}

// change does something to an owner's links, under the lock: to those of a range, or all.
func (r *Ranges) change(what, owner string, have *Range, do func(boot, path string) error) error {
	boot, err := clock.BootID()
	if err != nil {
		return err
	}
	lock, err := flock.Lock(filepath.Join(r.Dir, "lock"))
	if fault.Is(err, fault.NotFound) {
		return nil // nobody ever took one
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer lock.Unlock()
	paths, err := r.paths(have)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, path := range paths {
		if text, err := os.Readlink(path); err != nil || text != boot+" "+owner {
			continue
		}
		if err := do(boot, path); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// paths are the links of a range, or all.
func (r *Ranges) paths(have *Range) ([]string, error) {
	if have == nil {
		return filepath.Glob(filepath.Join(r.Dir, "[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"))
	}
	var out []string
	for _, m := range append(slices.Clone(have.UIDs), have.GIDs...) {
		if path := r.link(int(m.HostID / Size)); !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out, nil
}

// number reads a decimal id.
func number(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return n, err == nil
}
