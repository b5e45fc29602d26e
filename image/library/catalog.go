package library

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/names"
	"berth/sys/stamp"
)

// summary is STORE/images/HEX.json: what lists say of one target. It can be
// made again from the documents and the layers at any time.
type summary struct {
	Version  int               `json:"version"`
	ID       digest.Digest     `json:"id"`
	Manifest digest.Digest     `json:"manifest"`
	Created  time.Time         `json:"created"`
	Size     int64             `json:"size"`
	Platform ocispec.Platform  `json:"platform"`
	Labels   map[string]string `json:"labels,omitempty"`
	Layers   []digest.Digest   `json:"layers,omitempty"`
	Parent   digest.Digest     `json:"parent,omitempty"`
}

const (
	summaryVersion = 1
	maxSummary     = 1 << 20
	MaxDocument    = 4 << 20
)

// Entry is an image as the catalog has it.
type Entry struct {
	Image
	Targets []digest.Digest
	Keys    []string // names of the store, dangling ones too
}

// SourceLabel on a name says that the registry of the name has this digest;
// ParentLabel on a manifest which image it was made from, by id.
const (
	SourceLabel = "berth.registry-digest"
	ParentLabel = "berth.parent"
)

// Catalog lists all images: the names of one id together, sorted by creation,
// newest first. Broken ones are reported and left out.
func (l *Library) Catalog(ctx context.Context) ([]Entry, error) {
	x, err := listed(ctx, l)
	if err != nil {
		return nil, err
	}
	c := newCatalog(x)
	for i := range x.named {
		n := &x.named[i]
		if n.to >= 0 {
			c.add(c.places[n.to], &x.made[n.to].summary, &n.Image)
			continue
		}
		img, sum, err := current(ctx, l, n.Image)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if img.Name != "" {
				l.warn(fmt.Errorf("image %s: %w", img.Name, err))
			}
			continue
		}
		c.add(c.place(sum.ID), &sum, &img)
	}
	return c.sorted(), nil
}

// catalog gathers names by ids.
type catalog struct {
	entries []Entry
	byID    map[digest.Digest]int
	places  []int // of the index's summaries
}

func newCatalog(x index) *catalog {
	c := &catalog{byID: make(map[digest.Digest]int, len(x.made)), entries: make([]Entry, 0, len(x.made)), places: make([]int, len(x.made))}
	for i := range x.made {
		c.places[i] = c.place(x.made[i].ID)
	}
	return c
}

// place is where the names of an id are gathered.
func (c *catalog) place(id digest.Digest) int {
	at, ok := c.byID[id]
	if !ok {
		at = len(c.entries)
		c.byID[id] = at
		c.entries = append(c.entries, Entry{})
	}
	return at
}

func (c *catalog) add(at int, sum *summary, n *names.Image) {
	e := &c.entries[at]
	if e.ID == "" {
		e.Image = sum.image(n.Target)
	}
	e.Parent = cmp.Or(e.Parent, sum.Parent) // of its wrappings one may know it
	e.add(n.Name, n.Target.Digest, n.Labels[SourceLabel], n.UpdatedAt)
}

func (c *catalog) sorted() []Entry {
	out := slices.DeleteFunc(c.entries, func(e Entry) bool { return e.ID == "" })
	for i := range out {
		slices.Sort(out[i].Names)
		slices.Sort(out[i].Digests)
		out[i].Digests = slices.Compact(out[i].Digests)
	}
	slices.SortFunc(out, func(a, b Entry) int { return newer(&a.Image.Created, &b.Image.Created, a.ID, b.ID) })
	return out
}

// newer sorts by creation, newest first, then by id.
func newer(a, b *time.Time, idA, idB digest.Digest) int {
	if c := b.Compare(*a); c != 0 {
		return c
	}
	return strings.Compare(string(idA), string(idB))
}

// listed reads the names and the summaries of what they lead to, those that are
// there.
func listed(ctx context.Context, l *Library) (index, error) {
	now, x := folders(l), readIndex(l)
	if x.folders == now && now != ([2]stamp.Stamp{}) {
		return x, nil
	}
	named, made := x.known()
	all, news, whole, err := l.Names.ListKnown(ctx, named)
	if err != nil {
		return index{}, err
	}
	places := make(map[digest.Digest]int, len(all))
	targets := make([]digest.Digest, 0, len(all))
	for i := range all {
		t := all[i].Target.Digest
		if _, twice := places[t]; !twice {
			places[t] = none
			targets = append(targets, t)
		}
	}
	got, more := l.summaries(targets, made)
	next := index{made: make([]madeSummary, 0, len(targets)), named: make([]leading, len(all))}
	for i, t := range targets {
		if got[i].Version != 0 {
			next.made = append(next.made, madeSummary{t, got[i]})
		}
		whole = whole && got[i].Version != 0 && got[i].seen != stamp.Stamp{}
	}
	slices.SortFunc(next.made, func(a, b madeSummary) int { return newer(&a.Created, &b.Created, a.ID, b.ID) })
	for i := range next.made {
		places[next.made[i].target] = i
	}
	for i := range all {
		next.named[i] = leading{all[i], places[all[i].Target.Digest]}
	}
	if whole {
		next.folders = now
	}
	again := len(all) > stamp.Few && next.folders != [2]stamp.Stamp{}
	if again || stamp.Outdated(len(x.named), len(all), news+more) {
		writeIndex(l, next)
	}
	return next, nil
}

// Named is the image that one canonical name leads to, with no other name of
// it. Error: kind NotFound.
func Named(ctx context.Context, l *Library, name string) (Image, error) {
	n, err := l.Names.Get(ctx, name)
	if errdefs.IsNotFound(err) {
		return Image{}, fault.Wrap(fault.NotFound, err)
	}
	if err != nil {
		return Image{}, err
	}
	n, sum, err := current(ctx, l, n)
	if err != nil {
		return Image{}, err
	}
	e := Entry{Image: sum.image(n.Target)}
	e.add(n.Name, n.Target.Digest, n.Labels[SourceLabel], n.UpdatedAt)
	return e.Image, nil
}

func (s *summary) image(target ocispec.Descriptor) Image {
	return Image{ID: s.ID, Target: target, Manifest: s.Manifest, Created: s.Created, Size: s.Size,
		Platform: s.Platform, Labels: s.Labels, Layers: s.Layers, Parent: s.Parent}
}

// current is the summary of what a listed name leads to. Others may have moved
// or removed the name since: then it is the new one's, or an error and no name.
func current(ctx context.Context, l *Library, n names.Image) (names.Image, summary, error) {
	for {
		sum, err := l.summaryOf(ctx, n.Target)
		if err == nil {
			return n, sum, nil
		}
		now, gone := l.Names.Get(ctx, n.Name)
		switch {
		case errdefs.IsNotFound(gone):
			return names.Image{}, sum, err
		case gone != nil || now.Target.Digest == n.Target.Digest && now.UpdatedAt.Equal(n.UpdatedAt) || ctx.Err() != nil:
			return n, sum, err
		}
		n = now
	}
}

func (n *Entry) add(name string, target digest.Digest, source string, updated time.Time) {
	if !slices.Contains(n.Targets, target) {
		n.Targets = append(n.Targets, target)
	}
	n.Keys = append(n.Keys, name)
	if updated.After(n.Added) {
		n.Added = updated
	}
	repo, isDigest := CutDigest(name)
	switch {
	case strings.HasPrefix(name, Dangling):
	case isDigest:
		n.Digests = append(n.Digests, name)
	default:
		n.Names = append(n.Names, name)
		if source != "" {
			n.Digests = append(n.Digests, repo+"@"+source)
		}
	}
}

// CutDigest gives the repository of a canonical name, and whether it has a digest.
func CutDigest(name string) (repo string, isDigest bool) {
	if repo, _, ok := strings.Cut(name, "@"); ok {
		return repo, true
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], false
	}
	return name, false
}

// SummaryPath is where the summary of a target is.
func (l *Library) SummaryPath(target digest.Digest) string {
	return l.Path("images", target.Algorithm().String()+"-"+target.Encoded()+".json")
}

// summaryOf reads the summary of a target, or makes it.
func (l *Library) summaryOf(ctx context.Context, target ocispec.Descriptor) (summary, error) {
	data, err := atomicfile.ReadCapped(l.SummaryPath(target.Digest), maxSummary)
	if err == nil {
		if sum, ok := parseSummary(data); ok {
			return sum, nil
		}
	}
	sum, err := l.summarize(ctx, target)
	if err != nil {
		return sum, err
	}
	l.writeSummary(target.Digest, sum)
	return sum, nil
}

// writeSummary keeps a summary; a full disk is no reason to fail a list.
func (l *Library) writeSummary(target digest.Digest, sum summary) {
	if data, err := json.Marshal(sum); err == nil {
		if err := atomicfile.WriteHint(l.SummaryPath(target), data, 0o600); err != nil {
			l.warn(err)
		}
	}
}

// RemoveSummary drops the summary of an image that is gone; one that stays is
// never read again.
func RemoveSummary(path string) { _ = os.Remove(path) }

// DropSummaries removes summaries of targets that are not here any more, and
// what killed writers left of one an hour ago or earlier.
func DropSummaries(ctx context.Context, l *Library) {
	entries, err := os.ReadDir(l.Path("images"))
	if err != nil {
		l.warn(err)
		return
	}
	for _, e := range entries {
		path := l.Path("images", e.Name())
		if atomicfile.IsStaged(e.Name()) {
			if st, err := e.Info(); err == nil && time.Since(st.ModTime()) > time.Hour {
				RemoveSummary(path)
			}
			continue
		}
		algorithm, encoded, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".json"), "-")
		if _, err := l.Content.Info(ctx, digest.NewDigestFromEncoded(digest.Algorithm(algorithm), encoded)); errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) {
			RemoveSummary(path)
		}
	}
}

func (l *Library) summarize(ctx context.Context, target ocispec.Descriptor) (summary, error) {
	img, err := l.Read(ctx, target, manifest.Host())
	if fault.Is(err, fault.NotFound) && img.Index != nil && img.Manifest == nil {
		// A list whose members are all elsewhere stands for itself.
		return summary{Version: summaryVersion, ID: target.Digest, Manifest: target.Digest}, nil
	}
	if err != nil {
		return summary{}, err
	}
	sum := summary{Version: summaryVersion, ID: img.Config.Digest(), Manifest: img.Manifest.Digest, Platform: img.Config.Platform(),
		Labels: img.Config.Defaults.Labels, Layers: img.Config.RootFS.DiffIDs}
	if img.Config.Created != nil {
		sum.Created = *img.Config.Created
	}
	info, err := l.Content.Info(ctx, sum.Manifest)
	if err != nil {
		return summary{}, err
	}
	sum.Parent = digest.Digest(info.Labels[ParentLabel])
	for _, chain := range identity.ChainIDs(slices.Clone(sum.Layers)) {
		u, err := l.Layers.Usage(ctx, string(chain))
		if err != nil && !errdefs.IsNotFound(err) {
			return summary{}, err
		}
		sum.Size += u.Size
	}
	return sum, nil
}

// Documents are an image's manifest and configuration, read and checked.
type Documents struct {
	Index    *manifest.Document // nil without one
	Manifest *manifest.Document
	Config   *manifest.Config
}

// Read follows a target to the manifest of a platform that is here.
func (l *Library) Read(ctx context.Context, target ocispec.Descriptor, want manifest.Platform) (Documents, error) {
	var d Documents
	for range 4 { // indexes in indexes end here
		doc, err := l.Document(ctx, target)
		if err != nil {
			return d, err
		}
		if doc.Manifest != nil {
			d.Manifest = doc
			raw, err := l.Blob(ctx, doc.Manifest.Config)
			if err != nil {
				return d, err
			}
			if !manifest.IsConfig(doc.Manifest.Config.MediaType) {
				return d, fault.New(fault.Unsupported, "%s is no image but an artifact of type %.100q", target.Digest, doc.Manifest.Config.MediaType)
			}
			if d.Config, err = manifest.DecodeConfig(raw); err != nil {
				return d, err
			}
			return d, manifest.CheckLayers(doc.Manifest, d.Config)
		}
		if d.Index == nil {
			d.Index = doc
		}
		if target, err = l.Present(ctx, doc, want); err != nil {
			return d, err
		}
	}
	return d, fault.New(fault.Invalid, "index %s: indexes in indexes, too deep", target.Digest)
}

// Present selects the entry for a platform among those that are here, or any
// that is here if none fits: an image pulled for another platform alone.
func (l *Library) Present(ctx context.Context, doc *manifest.Document, want manifest.Platform) (ocispec.Descriptor, error) {
	here := *doc.Index
	here.Manifests = nil
	for _, m := range manifest.Images(doc.Index) {
		if _, err := l.Content.Info(ctx, m.Digest); err == nil {
			here.Manifests = append(here.Manifests, m)
		}
	}
	m, err := manifest.Select(&here, want)
	if err != nil && len(here.Manifests) > 0 {
		return here.Manifests[0], nil
	}
	return m, err
}

func (l *Library) Document(ctx context.Context, desc ocispec.Descriptor) (*manifest.Document, error) {
	raw, err := l.Blob(ctx, desc)
	if err != nil {
		return nil, err
	}
	return manifest.DecodeBlob(desc, raw)
}

// Blob reads a small blob whole.
func (l *Library) Blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > MaxDocument {
		return nil, fault.New(fault.Invalid, "%s has %d bytes, more than %d", desc.Digest, desc.Size, MaxDocument)
	}
	raw, err := content.ReadBlob(ctx, l.Content, desc)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	return raw, nil
}
