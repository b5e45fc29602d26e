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
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
	"berth/image/registry/hosts"
)

// commitWait is how long a registry may think about what it was sent: some
// copy and hash a blob again before they answer.
const commitWait = 10 * time.Minute

// pushable is how many of the endpoints a push may use: the first, with its
// second form if it is an insecure one. All of an image goes to one place.
func pushable(list []hosts.Endpoint) int {
	if len(list) > 1 && list[1].Host == list[0].Host {
		return 2
	}
	return min(len(list), 1)
}

// onPush runs f at the place where r is pushed to.
func (c *Client) onPush(ctx context.Context, what string, r ref.Ref, f func(hosts.Endpoint) error) error {
	list, err := c.endpoints(r, hosts.Push)
	if err != nil {
		return err
	}
	_, err = c.each(ctx, what, list[:pushable(list)], f)
	return named(what, err)
}

// MountBlob asks the registry to take the blob over from another repository of
// its own. false is no error: push it.
func (c *Client) MountBlob(ctx context.Context, r ref.Ref, desc v1.Descriptor, from string) (mounted bool, err error) {
	if err := ref.CheckDigest(string(desc.Digest)); err != nil {
		return false, err
	}
	what := fmt.Sprintf("mount blob %s of %s into %s", desc.Digest, from, r.FamiliarName())
	err = c.onPush(ctx, what, r, func(ep hosts.Endpoint) error {
		resp, err := c.send(ctx, call{method: http.MethodPost, ep: ep, path: "/" + ep.Repository + "/blobs/uploads/",
			query:  url.Values{"mount": {string(desc.Digest)}, "from": {from}},
			scopes: []string{pushScope(ep.Repository), pullScope(from)}})
		var e *Error
		if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest) {
			return nil // it does not know the other repository, or cannot mount
		}
		if err != nil {
			return err
		}
		drop(resp)
		mounted = resp.StatusCode == http.StatusCreated
		if at, err := location(resp.Request.URL, resp.Header.Get("Location")); !mounted && err == nil {
			c.abandon(ctx, ep, at)
		}
		return nil
	})
	return mounted && err == nil, err
}

// abandon ends an upload that nobody will go on with; a registry that cannot
// do that forgets it some day.
func (c *Client) abandon(ctx context.Context, ep hosts.Endpoint, at *url.URL) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	resp, err := c.send(ctx, call{method: http.MethodDelete, ep: ep, at: at, scopes: []string{pushScope(ep.Repository)}})
	if err == nil {
		drop(resp)
	}
}

// upload is one blob on its way to a registry.
type upload struct {
	c      *Client
	ep     hosts.Endpoint
	desc   v1.Descriptor
	open   func(offset int64) (io.ReadCloser, error)
	report func(sent int64)
	at     *url.URL // where the session goes on; nil: none is open
	offset int64    // what the registry has of it
}

// PushBlob sends a blob: desc.Size bytes that open gives from an offset on.
// After a fault it goes on where the registry says it is, or starts again.
// report, if not nil, is told how many bytes went out; after a fault the
// number may be smaller than before.
func (c *Client) PushBlob(ctx context.Context, r ref.Ref, desc v1.Descriptor, open func(offset int64) (io.ReadCloser, error), report func(sent int64)) error {
	if err := ref.CheckDigest(string(desc.Digest)); err != nil {
		return err
	}
	if report == nil {
		report = func(int64) {}
	}
	what := fmt.Sprintf("push blob %s to %s", desc.Digest, r.FamiliarName())
	u := &upload{c: c, desc: desc, open: open, report: report}
	err := c.onPush(ctx, what, r, func(ep hosts.Endpoint) error {
		if u.ep.Scheme != ep.Scheme {
			u.ep, u.at, u.offset = ep, nil, 0
		}
		return u.try(ctx)
	})
	if err != nil && u.at != nil {
		c.abandon(ctx, u.ep, u.at)
	}
	return err
}

// try is one attempt: it takes up an open session or begins one.
func (u *upload) try(ctx context.Context) error {
	if u.at != nil && u.resume(ctx) == nil {
		if err := u.rest(ctx); !stale(err) {
			return err
		}
	}
	u.at = nil
	if err := u.begin(ctx); err != nil {
		return err
	}
	return u.rest(ctx)
}

// rest sends what is missing and ends the session.
func (u *upload) rest(ctx context.Context) error {
	if u.offset < u.desc.Size {
		if err := u.send(ctx); err != nil {
			return err
		}
	}
	return u.commit(ctx)
}

// stale reports that a registry does not know a session any more as it told of
// it: it may have still been writing what came of the request that was cut off.
func stale(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest || e.Status == http.StatusRequestedRangeNotSatisfiable)
}

func (u *upload) call(method string) call {
	return call{method: method, ep: u.ep, at: u.at, scopes: []string{pushScope(u.ep.Repository)}}
}

func (u *upload) begin(ctx context.Context) error {
	u.offset = 0
	k := u.call(http.MethodPost)
	k.path = "/" + u.ep.Repository + "/blobs/uploads/"
	resp, err := u.c.send(ctx, k)
	if err != nil {
		return err
	}
	drop(resp)
	return u.moveTo(resp)
}

// moveTo takes the next place of the session from an answer.
func (u *upload) moveTo(resp *http.Response) error {
	at, err := location(resp.Request.URL, resp.Header.Get("Location"))
	if err != nil {
		return fault.New(fault.Invalid, "%s %s: %w", resp.Request.Method, shown(resp.Request.URL), err)
	}
	u.at = at
	return nil
}

// resume asks how much has arrived.
func (u *upload) resume(ctx context.Context) error {
	resp, err := u.c.send(ctx, u.call(http.MethodGet))
	if err != nil {
		return err
	}
	drop(resp)
	have, ok := uploaded(resp.Header.Get("Range"))
	if !ok || resp.StatusCode != http.StatusNoContent || have > u.desc.Size {
		return fault.New(fault.Invalid, "the upload cannot be resumed")
	}
	u.offset = have
	if resp.Header.Get("Location") == "" {
		return nil
	}
	return u.moveTo(resp)
}

// uploaded reads "0-LAST" (with or without "bytes=") as a number of bytes.
// Debian's registry says 0-0 for nothing and for one byte; nothing is safe.
func uploaded(s string) (int64, bool) {
	s = strings.TrimPrefix(s, "bytes=")
	last, ok := strings.CutPrefix(s, "0-")
	if !ok {
		return 0, s == ""
	}
	n, err := strconv.ParseInt(last, 10, 62)
	if err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// send streams the rest of the blob in one request.
func (u *upload) send(ctx context.Context) error {
	k := u.call(http.MethodPatch)
	k.length = u.desc.Size - u.offset
	k.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if u.offset > 0 {
		k.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.desc.Size-1))
	}
	k.wait = commitWait
	k.body = func() (io.ReadCloser, error) {
		r, err := u.open(u.offset)
		if err != nil {
			return nil, err
		}
		return &counting{ReadCloser: r, n: u.offset, report: u.report}, nil
	}
	resp, err := u.c.send(ctx, k)
	if err != nil {
		return err
	}
	drop(resp)
	u.offset = u.desc.Size
	return u.moveTo(resp)
}

// commit names the digest; the registry verifies it.
func (u *upload) commit(ctx context.Context) error {
	at := *u.at
	q := at.Query()
	q.Set("digest", string(u.desc.Digest))
	at.RawQuery = q.Encode()
	k := u.call(http.MethodPut)
	k.at, k.wait = &at, commitWait
	k.header = http.Header{"Content-Type": {"application/octet-stream"}}
	k.body = func() (io.ReadCloser, error) { return http.NoBody, nil }
	resp, err := u.c.send(ctx, k)
	if err != nil {
		return err
	}
	drop(resp)
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != string(u.desc.Digest) {
		return fault.New(fault.Invalid, "the registry stored %s", clean(got, 100))
	}
	u.at = nil
	return nil
}

// counting reports what goes out.
type counting struct {
	io.ReadCloser
	n      int64
	report func(int64)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	if n > 0 {
		c.report(c.n)
	}
	return n, err
}

// PushManifest sends a manifest or index under r's tag, or under its digest if
// r has no tag, and gives the digest.
func (c *Client) PushManifest(ctx context.Context, r ref.Ref, mediaType string, body []byte) (digest.Digest, error) {
	d := digestOf(digest.SHA256, body)
	if len(body) > maxManifest {
		return "", fault.New(fault.Invalid, "push manifest %s to %s: larger than %d bytes", d, r.FamiliarName(), maxManifest)
	}
	name := r.Tag
	if name == "" {
		name = string(d)
	}
	what := fmt.Sprintf("push manifest %s to %s", name, r.FamiliarName())
	err := c.onPush(ctx, what, r, func(ep hosts.Endpoint) error {
		resp, err := c.send(ctx, call{method: http.MethodPut, ep: ep, path: "/" + ep.Repository + "/manifests/" + name,
			header: http.Header{"Content-Type": {mediaType}}, length: int64(len(body)),
			body:   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(body))), nil },
			scopes: []string{pushScope(ep.Repository)}, wait: commitWait})
		if err != nil {
			return err
		}
		drop(resp)
		if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != string(d) {
			return fault.New(fault.Invalid, "the registry stored %s instead of %s", clean(got, 100), d)
		}
		return nil
	})
	return d, err
}
