package snapshot

import (
	"context"
	"fmt"
	"strings"

	"berth/base/fault"
)

// maxLayers is how many layers overlay takes (OVL_MAX_STACK of the kernel).
const maxLayers = 500

// Mounts gives the mounts of an active snapshot or a view: one, of type overlay
// or bind. With very many layers lowerdir= is longer than the page that mount(2)
// takes: mount.All of containerd then makes the paths relative, MountTree has no
// limit.
func (o *Overlay) Mounts(_ context.Context, key string) ([]Mount, error) {
	rec, err := o.load(key)
	if err != nil {
		return nil, fmt.Errorf("mounts of %w", err)
	}
	return o.mountsOf(rec)
}

// Look gives the mount of a committed snapshot with those below it, read-only, without
// making a view: whoever mounts it makes sure that they are not removed before.
func (o *Overlay) Look(_ context.Context, name string) ([]Mount, error) {
	return o.mountsOf(&record{Key: name, Parent: name, Kind: View})
}

func (o *Overlay) mountsOf(rec *record) ([]Mount, error) {
	if rec.Kind == Committed {
		return nil, refuse(fault.Conflict, "mounts of snapshot %s: it is committed, make a view", rec.Key)
	}
	lower, err := o.lowerOf(rec)
	if err != nil {
		return nil, fmt.Errorf("mounts of %w", err)
	}
	own := o.upper(rec.ID)
	switch {
	case len(lower) == 0 && rec.Kind == Active:
		return bindOf(own, "rw"), nil
	case len(lower) == 0:
		return bindOf(own, "ro"), nil
	case len(lower) == 1 && rec.Kind == View:
		return bindOf(lower[0], "ro"), nil
	}
	options := o.overlayOptions()
	if rec.Kind == Active {
		options = append(options, "workdir="+o.work(rec.ID), "upperdir="+own)
	}
	options = append(options, "lowerdir="+strings.Join(lower, ":"))
	return []Mount{{Type: "overlay", Source: "overlay", Options: options}}, nil
}

func bindOf(path, mode string) []Mount {
	return []Mount{{Type: "bind", Source: path, Options: []string{mode, "rbind"}}}
}

// overlayOptions are those of all overlay mounts. redirect_dir=nofollow is "off"
// that also ignores redirects which somebody else wrote into a layer; "off"
// cannot stand beside userxattr where the kernel follows by default. Either
// also turns metacopy off; the word itself is left out, because BuildKit takes
// its slow way to compute a layer when it finds a word that it does not know.
func (o *Overlay) overlayOptions() []string {
	options := []string{"index=off", "redirect_dir=nofollow"}
	if o.userNS {
		options = append(options, "userxattr")
	}
	return options
}

// lowerOf lists the folders below a snapshot, its parent's first.
func (o *shelf) lowerOf(rec *record) ([]string, error) {
	var lower []string
	for at := rec; at.Parent != ""; {
		if len(lower) == maxLayers {
			return nil, refuse(fault.Invalid, "snapshot %s: more than %d layers", rec.Key, maxLayers)
		}
		above, err := o.parentOf(at.Key, at.Parent)
		if err != nil {
			return nil, err
		}
		lower = append(lower, o.upper(above.ID))
		at = above
	}
	return lower, nil
}
