package snapshot

import (
	"context"
	"maps"
	"time"
)

// Kind is what a snapshot is, in the word that stands in its record.
type Kind string

// The kinds.
const (
	Active    Kind = "active"
	View      Kind = "view"
	Committed Kind = "committed"
)

// Info is what is known of a snapshot.
type Info struct {
	Kind             Kind
	Name             string // or key, before the commit
	Parent           string
	Labels           map[string]string
	Created, Updated time.Time
	Limit            int64 // bytes of its own that it may hold, 0 any
}

// Usage is what a snapshot takes without its parents.
type Usage struct {
	Inodes int64
	Size   int64 // bytes on disk
}

// Mount is a mount as fstab(5) has it, whose place the caller chooses.
type Mount struct {
	Type    string
	Source  string
	Options []string
}

// WalkFunc is called for each snapshot of a list; its error ends the list.
type WalkFunc func(context.Context, Info) error

// Opt sets what Prepare, View, PrepareLayer and Commit are to record.
type Opt func(*Info)

// WithLabels adds labels.
func WithLabels(labels map[string]string) Opt {
	return func(i *Info) {
		if i.Labels == nil {
			i.Labels = map[string]string{}
		}
		maps.Copy(i.Labels, labels)
	}
}

// WithParent names the parent, for Commit of a snapshot that has none.
func WithParent(parent string) Opt { return func(i *Info) { i.Parent = parent } }

// WithLimit bounds what an active snapshot may hold, in bytes; 0 does not. The
// store's file system needs project quotas (sys/quota).
func WithLimit(bytes int64) Opt { return func(i *Info) { i.Limit = bytes } }

// wanted is what the options say.
func wanted(opts []Opt) Info {
	var i Info
	for _, opt := range opts {
		opt(&i)
	}
	return i
}
