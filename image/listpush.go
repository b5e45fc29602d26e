package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
	"berth/image/registry"
)

// Push sends a list: with all, its members' images too; else those that are in
// its repository already are not looked at. What is not here of a member is
// mounted from where it was found, or passed on from there if that is another
// registry.
func (l *Lists) Push(ctx context.Context, list string, all bool, r PushRequest) (Pushed, error) {
	s := l.store
	from, err := s.target(list)
	if err != nil {
		return Pushed{}, err
	}
	to := from
	if r.Name != "" {
		if to, err = ref.Stored(r.Name); err != nil {
			return Pushed{}, err
		}
	}
	doc, err := l.local(ctx, from)
	if err != nil {
		return Pushed{}, err
	}
	client, err := s.client(r.Access, r.Progress)
	if err != nil {
		return Pushed{}, err
	}
	defer client.Close()
	h, err := s.lib.Hold(ctx, "push")
	if err != nil {
		return Pushed{}, err
	}
	p := &pusher{s: s, client: client, lease: h, to: to, r: r, tell: teller(r.Progress, to.Tag)}
	sent, err := p.list(ctx, l, doc, all)
	if err == nil {
		_, err = client.PushManifest(ctx, to, sent.MediaType, sent.Raw())
	}
	if err = errors.Join(err, h.Release(ctx)); err != nil {
		return Pushed{}, err
	}
	return Pushed{Name: to.String(), Digest: sent.Digest, Size: int64(len(sent.Raw())), Sent: p.sent.Load()}, nil
}

// list sends what a list made here leads to.
func (p *pusher) list(ctx context.Context, l *Lists, doc *manifest.Document, all bool) (*manifest.Document, error) {
	labels, err := l.sources(ctx, doc)
	if err != nil {
		return nil, err
	}
	others := p.r.Access
	others.Auth = nil // it was typed for the one registry that is pushed to
	client, err := p.s.client(others, p.r.Progress)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		domain := strings.TrimPrefix(key, manifest.SourceLabel)
		for _, path := range repositories(labels, domain) {
			o := origin{client, ref.Ref{Domain: domain, Path: path}}
			if domain == p.to.Domain {
				o.client = p.client
			}
			p.origins = append(p.origins, o)
		}
	}
	return p.members(ctx, doc, all)
}

// origin is a repository that may have what is not here of a list's members.
type origin struct {
	client *registry.Client
	ref    ref.Ref
}

// members sends an index's members and gives the index to send, which is
// another one if layers had to be compressed. Without all, members that are
// there already are not looked at.
func (p *pusher) members(ctx context.Context, doc *manifest.Document, all bool) (*manifest.Document, error) {
	x := *doc.Index
	x.Manifests = slices.Clone(x.Manifests)
	same := true
	for i, m := range x.Manifests {
		sent, err := p.member(ctx, m, all)
		if err != nil {
			return nil, fmt.Errorf("push %s: its member %s: %w", p.to.Familiar(), m.Digest, err)
		}
		if sent.Digest != m.Digest {
			x.Manifests[i].MediaType, x.Manifests[i].Digest, x.Manifests[i].Size = sent.MediaType, sent.Digest, sent.Size
			same = false
		}
	}
	if same {
		return doc, nil
	}
	return manifest.NewIndex(x)
}

// member sends one member with all that it needs, and tells what was sent.
func (p *pusher) member(ctx context.Context, m ocispec.Descriptor, all bool) (ocispec.Descriptor, error) {
	to, err := p.to.WithDigest(m.Digest)
	if err != nil {
		return m, err
	}
	if !all {
		if _, _, err := p.client.Resolve(ctx, to); err == nil {
			return m, nil
		}
	}
	doc, err := p.memberDocument(ctx, m)
	if err != nil {
		return m, err
	}
	part := &pusher{s: p.s, client: p.client, lease: p.lease, to: to, r: p.r, tell: p.tell, origins: p.origins}
	part.r.Force, part.r.Format = false, ""
	if doc.Index != nil {
		doc, err = part.members(ctx, doc, all)
	} else {
		doc, err = part.image(ctx, doc)
	}
	if err != nil {
		return m, err
	}
	p.sent.Add(part.sent.Load())
	_, err = p.client.PushManifest(ctx, to, doc.MediaType, doc.Raw())
	return doc.Descriptor(), err
}

// memberDocument is a member's document: from here, else from where the list
// has it from.
func (p *pusher) memberDocument(ctx context.Context, m ocispec.Descriptor) (*manifest.Document, error) {
	doc, err := p.s.lib.Document(ctx, m)
	if !errdefs.IsNotFound(err) {
		return doc, err
	}
	err = fault.New(fault.NotFound, "it is not here, nor known to be in a registry: pull it, or add it to the list by a registry's name")
	for _, o := range p.origins {
		var raw []byte
		if raw, err = o.client.Manifest(ctx, o.ref, m); err == nil {
			return manifest.DecodeBlob(m, raw)
		}
	}
	return nil, err
}

// passOn sends a blob that is not here from where it is.
func (p *pusher) passOn(ctx context.Context, desc ocispec.Descriptor, report func(int64)) error {
	err := error(fault.New(fault.NotFound, "%s is not here", desc.Digest))
	for _, o := range p.origins {
		var first *registry.BlobReader
		if first, err = o.client.Blob(ctx, o.ref, desc, 0); err != nil {
			continue // another of them has it
		}
		err = p.client.PushBlob(ctx, p.to, desc, func(offset int64) (io.ReadCloser, error) {
			if r := first; r != nil && offset == 0 {
				first = nil
				return r, nil
			}
			r, err := o.client.Blob(ctx, o.ref, desc, offset)
			if err != nil {
				return nil, err
			}
			return r, nil
		}, report)
		if first != nil {
			_ = first.Close() // nothing was read: the registry refused the upload
		}
		return err
	}
	return err
}
