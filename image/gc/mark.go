package gc

import (
	"context"
	"fmt"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/image/content"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/snapshot"

	"github.com/opencontainers/go-digest"
)

// node is one thing that can be kept.
type node struct {
	kind string
	id   string
	how  how
}

// how much of a thing is kept; each keeps what the next one keeps.
type how uint8

const (
	whole   how = iota // it and all that it refers to
	labeled            // it and what its labels refer to: it is no document
	flat               // it alone
)

// marker follows references. What it has marked stays marked.
type marker struct {
	*Collector
	start time.Time

	blobs  map[digest.Digest]content.Blob // as listed at the start
	layers map[string]snapshot.Info
	images map[string]names.Image
	leases []lease.Held

	marked   map[node]bool
	queue    []node
	problems []error
	seen     map[string]bool // paths of files in problems
}

// mark lists everything and follows all roots.
func (c *Collector) mark(ctx context.Context) (*marker, error) {
	m := &marker{
		Collector: c, start: time.Now(),
		blobs: map[digest.Digest]content.Blob{}, layers: map[string]snapshot.Info{},
		marked: map[node]bool{}, seen: map[string]bool{},
	}
	blobs, err := c.Content.Scan(ctx)
	if err != nil {
		return nil, err
	}
	if c.Snapshots != nil {
		err := c.Snapshots.Walk(ctx, func(_ context.Context, i snapshot.Info) error {
			m.layers[i.Name] = i
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
	}
	for _, b := range blobs {
		if b.Digest != "" {
			m.blobs[b.Digest] = b
		}
	}
	if err := m.roots(ctx); err != nil {
		return nil, err
	}
	for _, b := range blobs {
		switch {
		case b.Digest == "":
			m.problem(b.Path, b.Bad)
		case b.Bad != nil: // its labels: who knows what they said
			m.problem(string(b.Digest), b.Bad)
			m.push(BlobKind, string(b.Digest), whole)
		case rooted(b.Labels, m.start):
			m.push(BlobKind, string(b.Digest), whole)
		}
	}
	for key, i := range m.layers {
		if rooted(i.Labels, m.start) {
			m.push(SnapshotKind, key, whole)
		}
	}
	return m, m.follow(ctx)
}

// roots reads names and leases and marks what they keep. It is called again
// under the lock: all that was marked before costs nothing then.
func (m *marker) roots(ctx context.Context) error {
	imgs, badNames, err := m.Names.Scan(ctx)
	if err != nil {
		return err
	}
	leases, badLeases, err := m.Leases.Scan(ctx)
	if err != nil {
		return err
	}
	m.images, m.leases = map[string]names.Image{}, leases
	for _, img := range imgs {
		m.images[img.Name] = img
		if !ended(img.Labels, m.start) {
			m.push(NameKind, img.Name, whole)
			// The name may have been marked before, with another target.
			m.push(BlobKind, string(img.Target.Digest), whole)
		}
	}
	for _, l := range leases {
		dead, err := l.Dead(m.start)
		if err != nil {
			m.problem("lease "+l.ID, err)
		}
		if dead {
			continue
		}
		m.push(LeaseKind, l.ID, whole)
		for _, r := range l.Resources {
			h := whole
			if l.Flat() {
				h = flat
			}
			m.push(kindOf(r.Type), r.ID, h)
		}
	}
	for _, p := range badNames {
		if err := m.salvage(p.Path, p.Err); err != nil {
			return err
		}
	}
	for _, p := range badLeases {
		if err := m.salvage(p.Path, p.Err); err != nil {
			return err
		}
	}
	return nil
}

// kindOf is the kind of a lease's resource; that of another snapshotter is
// none of ours.
func kindOf(resource string) string {
	switch resource {
	case lease.ContentType:
		return BlobKind
	case lease.IngestType:
		return IngestKind
	case lease.ImageType:
		return NameKind
	case lease.SnapshotType + Snapshotter:
		return SnapshotKind
	}
	return ""
}

func (m *marker) problem(where string, err error) {
	if !m.seen[where] {
		m.seen[where] = true
		m.problems = append(m.problems, err)
	}
}

// salvage keeps what the digests in a broken root lead to. Only a file that is
// nonsense may be passed over like that.
func (m *marker) salvage(path string, cause error) error {
	if !fault.Is(cause, fault.Invalid) {
		return fmt.Errorf("nothing is removed while a name or lease cannot be read: %w", cause)
	}
	m.problem(path, cause)
	b, err := atomicfile.ReadCapped(path, 64<<20)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) { // gone, or no file at all
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range digestsIn(b) {
		m.push(BlobKind, string(d), whole)
		m.push(SnapshotKind, string(d), whole)
	}
	return nil
}

func (m *marker) push(kind, id string, h how) {
	if kind != "" && !m.marks(kind, id, h) {
		m.queue = append(m.queue, node{kind, id, h})
	}
}

// marks reports whether a thing is marked so, or with more.
func (m *marker) marks(kind, id string, h how) bool {
	for ; ; h-- {
		if m.marked[node{kind, id, h}] {
			return true
		}
		if h == whole {
			return false
		}
	}
}

// kept reports whether a thing is marked at all.
func (m *marker) kept(kind, id string) bool { return m.marks(kind, id, flat) }

// follow marks what is queued and what that leads to. A thing may come again
// with more that hangs on it.
func (m *marker) follow(ctx context.Context) error {
	for len(m.queue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := m.queue[len(m.queue)-1]
		m.queue = m.queue[:len(m.queue)-1]
		if m.marks(n.kind, n.id, n.how) {
			continue
		}
		m.marked[n] = true
		if n.how == flat {
			continue
		}
		if err := m.expand(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// expand queues what one thing refers to.
func (m *marker) expand(ctx context.Context, n node) error {
	switch n.kind {
	case NameKind:
		if img, ok := m.images[n.id]; ok {
			m.push(BlobKind, string(img.Target.Digest), whole)
		}
	case SnapshotKind:
		if i, ok := m.layers[n.id]; ok {
			if i.Parent != "" {
				m.push(SnapshotKind, i.Parent, whole)
			}
			m.references(i.Labels)
		}
	case BlobKind:
		return m.expandBlob(ctx, digest.Digest(n.id), n.how)
	}
	return nil
}

func (m *marker) expandBlob(ctx context.Context, d digest.Digest, h how) error {
	b, ok := m.blobs[d]
	if !ok { // made since the list, or not there
		info, err := m.Content.Info(ctx, d)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			return nil
		}
		if err != nil {
			return err
		}
		b = content.Blob{Info: info}
	}
	if m.references(b.Labels) || h != whole {
		return nil
	}
	return m.parse(ctx, b.Info)
}
