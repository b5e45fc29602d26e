package library

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/image/names"
	"berth/sys/stamp"
)

// index is STORE/index: the names and summaries that a list has read, with the
// stamps of their files, so that the next list reads one file in place of two
// an image. If it has all, and the folders of names and summaries are as they
// were before it was made, then nothing else is looked at.
type index struct {
	folders [2]stamp.Stamp // zero if it lacks something
	made    []madeSummary  // newest first
	named   []leading      // sorted
}

// leading is a name and which summary it leads to, a place in made; none without.
type leading struct {
	names.Listed
	to int
}

const none = -1

func indexOf(l *Library) *stamp.Cache {
	return &stamp.Cache{Path: l.Path("index"), Form: "index 4\n", Max: 256 << 20}
}

// readIndex is empty if there is none, or a broken one.
func readIndex(l *Library) index {
	var x index
	if !indexOf(l).Read(x.code) {
		return index{}
	}
	return x
}

// writeIndex keeps what has stamps; a full disk is no reason to fail a list.
func writeIndex(l *Library, x index) {
	all := x.named
	x.named = make([]leading, 0, len(all))
	for _, n := range all {
		// What few names have is left to their own files.
		if t := &n.Target; n.Stamp != (stamp.Stamp{}) && t.Platform == nil && len(t.Annotations)+len(t.URLs)+len(t.Data)+len(t.ArtifactType) == 0 {
			x.named = append(x.named, n)
		}
	}
	if len(x.named) < len(all) {
		x.folders = [2]stamp.Stamp{}
	}
	if err := indexOf(l).Write(x.code); err != nil {
		l.warn(err)
	}
}

// folders are the stamps of the folders of names and summaries, which any change
// of a file in them changes; zero if a change just now could leave no trace.
func folders(l *Library) (seen [2]stamp.Stamp) {
	now := time.Now()
	for i, path := range []string{l.Path("names"), l.Path("images")} {
		s, err := stamp.At(unix.AT_FDCWD, path)
		if err != nil || !s.Settled(now) {
			return [2]stamp.Stamp{}
		}
		seen[i] = s
	}
	return seen
}

// known gives the index by files and targets.
func (x *index) known() (map[string]names.Listed, map[digest.Digest]stamped) {
	named, made := make(map[string]names.Listed, len(x.named)), make(map[digest.Digest]stamped, len(x.made))
	for i := range x.named {
		n := &x.named[i].Listed
		n.File = names.File(n.Name)
		named[n.File] = *n
	}
	for _, s := range x.made {
		made[s.target] = s.stamped
	}
	return named, made
}

// Foresee does what the first list of many new images would do: a load of a
// thousand takes seconds anyway, and a list is waited for. Call it when their
// layers are here and again when they have names; what fails, lists say.
func Foresee(ctx context.Context, l *Library, targets []ocispec.Descriptor, named bool) {
	if len(targets) <= stamp.Few {
		return
	}
	if !named {
		for _, t := range targets {
			_, _ = l.summaryOf(ctx, t)
		}
		return
	}
	time.Sleep(stamp.Tick) // then their stamps count
	_, _ = listed(ctx, l)
}

// madeSummary is a summary with the target it is of.
type madeSummary struct {
	target digest.Digest
	stamped
}

func (x *index) code(c *codec.Coder) {
	for i := range x.folders {
		x.folders[i].Code(c)
	}
	codec.List(c, &x.made, codeMade)
	codec.List(c, &x.named, func(c *codec.Coder, n *leading) {
		n.Stamp.Code(c)
		c.Str(&n.Name)
		c.Int(&n.to)
		c.Str(&n.Target.MediaType)
		if n.to < 0 || n.to >= len(x.made) {
			n.to = none
			wireDigest(c, &n.Target.Digest)
		} else {
			n.Target.Digest = x.made[n.to].target
		}
		c.I64(&n.Target.Size)
		c.Map(&n.Labels)
		c.Time(&n.CreatedAt)
		c.Time(&n.UpdatedAt)
	})
}

func codeMade(c *codec.Coder, s *madeSummary) {
	wireDigest(c, &s.target)
	s.seen.Code(c)
	c.Int(&s.Version)
	wireDigest(c, &s.ID)
	same := s.Manifest == s.target // of all but lists
	if c.Bool(&same); same {
		s.Manifest = s.target
	} else {
		wireDigest(c, &s.Manifest)
	}
	c.Time(&s.Created)
	c.I64(&s.summary.Size)
	p := &s.Platform
	for _, text := range []*string{&p.Architecture, &p.OS, &p.OSVersion, &p.Variant} {
		c.Str(text)
	}
	c.Strs(&p.OSFeatures)
	c.Map(&s.Labels)
	codec.List(c, &s.Layers, wireDigest)
	wireDigest(c, &s.Parent)
}

func wireDigest(c *codec.Coder, d *digest.Digest) {
	text := string(*d)
	c.Str(&text)
	*d = digest.Digest(text)
}
