package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
	"berth/image/registry/hosts"
)

// progress is how many bytes make a connection count as one that works: the
// tries are then counted anew.
const progress = 64 << 10

// BlobReader is a blob, or a part of one, as it comes. When the connection
// breaks or stalls it connects again and goes on where it was. It verifies no
// digest. It gives exactly the bytes that were asked for: too few or too many
// are an error. Not for several goroutines.
type BlobReader struct {
	c        *Client
	ctx      context.Context
	ref      ref.Ref
	desc     v1.Descriptor
	pos, end int64 // end -1: unknown
	part     bool  // a real range, not to be served from the whole
	body     io.ReadCloser
	ep       hosts.Endpoint
	failures int
	since    int64
	err      error
}

// Blob opens the blob desc of r's repository at offset. If the registry does
// not have it and desc.URLs names other places, those are asked, without any
// credential. A desc.Size below zero is an unknown size.
func (c *Client) Blob(ctx context.Context, r ref.Ref, desc v1.Descriptor, offset int64) (*BlobReader, error) {
	return c.openBlob(ctx, &BlobReader{pos: offset, end: desc.Size}, r, desc)
}

// BlobRange opens the bytes from offset to end (exclusive) of a blob. A
// registry that serves no ranges gives kind Unsupported: read the whole.
func (c *Client) BlobRange(ctx context.Context, r ref.Ref, desc v1.Descriptor, offset, end int64) (*BlobReader, error) {
	if end <= offset || end > desc.Size {
		return nil, fault.New(fault.Invalid, "read blob %s: bytes %d to %d of %d", desc.Digest, offset, end, desc.Size)
	}
	return c.openBlob(ctx, &BlobReader{pos: offset, end: end, part: true}, r, desc)
}

func (c *Client) openBlob(ctx context.Context, b *BlobReader, r ref.Ref, desc v1.Descriptor) (*BlobReader, error) {
	if err := ref.CheckDigest(string(desc.Digest)); err != nil {
		return nil, err
	}
	if b.pos < 0 || desc.Size >= 0 && b.pos > desc.Size {
		return nil, fault.New(fault.Invalid, "read blob %s: offset %d of %d", desc.Digest, b.pos, desc.Size)
	}
	b.c, b.ctx, b.ref, b.desc = c, ctx, r, desc
	if b.end < 0 {
		b.end = -1
	}
	if b.pos == b.end {
		return b, nil
	}
	return b, b.open()
}

// Offset is how far the blob was read.
func (b *BlobReader) Offset() int64 { return b.pos }

// Distrust tells that the bytes were wrong: if a mirror sent them, it is left
// alone for a while, and the next try asks another.
func (b *BlobReader) Distrust() { b.c.distrust(b.ep, errors.New("wrong bytes")) }

// Close ends the connection.
func (b *BlobReader) Close() error {
	if b.err == nil {
		b.err = fault.New(fault.Invalid, "read blob %s: closed", b.desc.Digest)
	}
	return b.hangUp()
}

func (b *BlobReader) hangUp() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// Read is io.Reader's.
func (b *BlobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.err == nil {
		if b.pos == b.end {
			b.err = b.atEnd()
			break
		}
		if b.body == nil {
			if err := b.open(); err != nil {
				b.err = err
				break
			}
		}
		if left := b.end - b.pos; b.end >= 0 && int64(len(p)) > left {
			p = p[:left]
		}
		n, err := b.body.Read(p)
		b.pos += int64(n)
		if b.since += int64(n); b.since >= progress {
			b.failures = 0
		}
		if n > 0 {
			return n, nil
		}
		if err == io.EOF && b.end < 0 {
			b.err = io.EOF
		} else if err != nil {
			b.err = b.broken(err)
		}
	}
	return 0, b.err
}

// atEnd looks whether there is more than there should be.
func (b *BlobReader) atEnd() error {
	if b.body != nil && !b.part {
		var one [1]byte
		if n, _ := b.body.Read(one[:]); n > 0 {
			return fault.New(fault.Invalid, "read blob %s of %s from %s: more than %d bytes", b.desc.Digest, b.ref.FamiliarName(), b.ep, b.end)
		}
	}
	_ = b.hangUp()
	return io.EOF
}

// broken decides whether to connect again after a read failed.
func (b *BlobReader) broken(err error) error {
	_ = b.hangUp()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.failures++
	b.since = 0
	err = fmt.Errorf("read blob %s of %s from %s: broke off at byte %d of %d: %w",
		b.desc.Digest, b.ref.FamiliarName(), b.ep, b.pos, b.end, err)
	if b.ctx.Err() != nil || !mayPass(err) {
		return err
	}
	if b.failures > b.c.o.Retries {
		return fault.Wrap(fault.Unavailable, err)
	}
	if b.failures > 1 {
		b.c.distrust(b.ep, err)
	}
	return b.c.pause(b.ctx, string(b.desc.Digest), b.failures, err)
}

// open connects at pos, at the registry and then at the descriptor's URLs.
func (b *BlobReader) open() error {
	list, err := b.c.content(b.ref)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("read blob %s of %s", b.desc.Digest, b.ref.FamiliarName())
	ep, err := b.c.each(b.ctx, what, list, func(ep hosts.Endpoint) error {
		return b.connect(call{method: http.MethodGet, ep: ep, path: "/" + ep.Repository + "/blobs/" + string(b.desc.Digest),
			scopes: []string{pullScope(ep.Repository)}})
	})
	b.ep = ep
	if err == nil || !fault.Is(err, fault.NotFound) || b.ctx.Err() != nil {
		return named(what, err)
	}
	for i, s := range b.desc.URLs {
		if i == 8 {
			break
		}
		if b.foreign(ep, s, what) == nil {
			return nil
		}
	}
	return named(what, err)
}

// foreign asks a place that a manifest names. It is nobody's registry: no
// credential, no header, and http only if the registry itself was asked so.
func (b *BlobReader) foreign(ep hosts.Endpoint, s, what string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || ep.Scheme != "http") {
		return fault.New(fault.Invalid, "%s: %q is no https address", what, clean(s, 200))
	}
	t, err := b.c.o.Hosts.TLSOf(u.Host)
	if err != nil {
		return err
	}
	at := hosts.Endpoint{Scheme: u.Scheme, Host: u.Host, TLS: t}
	err = b.c.retry(b.ctx, what, 1+b.c.o.Retries, func() error {
		return b.connect(call{method: http.MethodGet, ep: at, at: u})
	})
	if err == nil {
		b.ep = at
	}
	return err
}

// connect makes one request for the rest of the blob.
func (b *BlobReader) connect(k call) error {
	if b.pos > 0 || b.part {
		last := ""
		if b.part {
			last = strconv.FormatInt(b.end-1, 10)
		}
		k.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%s", b.pos, last)}}
	}
	resp, err := b.c.send(b.ctx, k)
	if err != nil {
		return err
	}
	b.ep = k.ep
	if err := b.accept(resp); err != nil {
		resp.Body.Close()
		return fmt.Errorf("GET %s: %w", shown(resp.Request.URL), err)
	}
	b.body = resp.Body
	return nil
}

// accept checks that an answer is the part that was asked for.
func (b *BlobReader) accept(resp *http.Response) error {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return fault.New(fault.Invalid, "sent with the coding %q, which was not asked for", clean(coding, 40))
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		from, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != b.pos {
			return fault.New(fault.Invalid, "Content-Range %q is not what was asked for, bytes from %d", clean(resp.Header.Get("Content-Range"), 100), b.pos)
		}
		return b.checkSize(size)
	case http.StatusOK:
		if err := b.checkSize(resp.ContentLength); err != nil {
			return err
		}
		if b.part {
			return fault.New(fault.Unsupported, "no ranges are served")
		}
		// The whole comes again: what we have is passed over.
		if n, err := io.CopyN(io.Discard, resp.Body, b.pos); err != nil {
			return fmt.Errorf("passed over %d bytes of %d: %w", n, b.pos, io.ErrUnexpectedEOF)
		}
		return nil
	}
	return fault.New(fault.Invalid, "unexpected status %d", resp.StatusCode)
}

// checkSize compares with the manifest; a size below zero was not told.
func (b *BlobReader) checkSize(size int64) error {
	if size >= 0 && b.desc.Size >= 0 && size != b.desc.Size {
		return fault.New(fault.Invalid, "the blob has %d bytes, the manifest says %d", size, b.desc.Size)
	}
	return nil
}

// contentRange reads "bytes FROM-TO/SIZE"; SIZE may be *, which gives -1.
func contentRange(s string) (from, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, total, ok := strings.Cut(s, "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from {
		return 0, 0, false
	}
	if total == "*" {
		return from, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return from, size, err == nil && size > to
}

// Exists asks whether r's registry, the one that pushes go to, has the blob.
func (c *Client) Exists(ctx context.Context, r ref.Ref, desc v1.Descriptor) (bool, error) {
	if err := ref.CheckDigest(string(desc.Digest)); err != nil {
		return false, err
	}
	list, err := c.endpoints(r, hosts.Push)
	if err != nil {
		return false, err
	}
	what := fmt.Sprintf("look for blob %s in %s", desc.Digest, r.FamiliarName())
	_, err = c.each(ctx, what, list[:pushable(list)], func(ep hosts.Endpoint) error {
		resp, err := c.send(ctx, call{method: http.MethodHead, ep: ep, path: "/" + ep.Repository + "/blobs/" + string(desc.Digest),
			scopes: []string{pushScope(ep.Repository)}})
		if err != nil {
			return err
		}
		drop(resp)
		if n := resp.ContentLength; n > 0 && desc.Size > 0 && n != desc.Size {
			return fault.New(fault.Invalid, "it has %d bytes there instead of %d", n, desc.Size)
		}
		return nil
	})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, named(what, err)
}

// named puts what was tried before an error.
func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
