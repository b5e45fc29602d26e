package registry

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
	"berth/image/registry/hosts"
)

// The media types of docker's schema 2.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1"
)

// manifestTypes is what we ask for.
func manifestTypes() []string {
	return []string{v1.MediaTypeImageIndex, dockerList, v1.MediaTypeImageManifest, dockerManifest}
}

// Resolve asks what r's digest, or else its tag (latest if it has none), is:
// digest, media type and size. It also gives the endpoint that answered. Kinds:
// NotFound, Permission, Unavailable, Invalid for an answer that makes no sense,
// Unsupported for docker's schema 1.
func (c *Client) Resolve(ctx context.Context, r ref.Ref) (v1.Descriptor, hosts.Endpoint, error) {
	r = r.OrLatest()
	purpose := hosts.Tag
	if r.Digest != "" {
		purpose = hosts.Digest
	}
	list, err := c.endpoints(r, purpose)
	if err != nil {
		return v1.Descriptor{}, hosts.Endpoint{}, err
	}
	var desc v1.Descriptor
	ep, err := c.each(ctx, "resolve "+r.Familiar(), list, func(ep hosts.Endpoint) error {
		desc, err = c.head(ctx, ep, r)
		if err == nil && desc.Digest == "" {
			desc, _, err = c.get(ctx, ep, r, v1.Descriptor{})
		}
		return err
	})
	if err != nil {
		return v1.Descriptor{}, ep, explainPull(r, err)
	}
	return desc, ep, nil
}

// Manifest reads the manifest or index that desc, an answer of Resolve or an
// entry of an index, says to be in r's repository. Its bytes are verified. r is
// the reference that was resolved: which mirrors serve it depends on whether it
// has a digest.
func (c *Client) Manifest(ctx context.Context, r ref.Ref, desc v1.Descriptor) ([]byte, error) {
	if err := ref.CheckDigest(string(desc.Digest)); err != nil {
		return nil, err
	}
	if desc.Size > maxManifest {
		return nil, fault.New(fault.Invalid, "read manifest %s of %s: %d bytes, at most %d are read", desc.Digest, r.FamiliarName(), desc.Size, maxManifest)
	}
	list, err := c.content(r)
	if err != nil {
		return nil, err
	}
	r.Digest = desc.Digest
	var body []byte
	_, err = c.each(ctx, "manifest of "+r.Familiar(), list, func(ep hosts.Endpoint) error {
		_, body, err = c.get(ctx, ep, r, desc)
		return err
	})
	if err != nil {
		return nil, explainPull(r, err)
	}
	return body, nil
}

func manifestCall(method string, ep hosts.Endpoint, r ref.Ref) call {
	what := r.Tag
	if r.Digest != "" {
		what = string(r.Digest)
	}
	return call{method: method, ep: ep, path: "/" + ep.Repository + "/manifests/" + what,
		header: http.Header{"Accept": {strings.Join(manifestTypes(), ", ")}},
		scopes: []string{pullScope(ep.Repository)}}
}

// head resolves without the manifest itself (Docker Hub counts only GET). An
// answer that does not say enough, and any refusal, whose reason a HEAD cannot
// tell, is left to get: the descriptor is then empty.
func (c *Client) head(ctx context.Context, ep hosts.Endpoint, r ref.Ref) (v1.Descriptor, error) {
	resp, err := c.send(ctx, manifestCall(http.MethodHead, ep, r))
	var e *Error
	if errors.As(err, &e) && e.Status < 500 {
		return v1.Descriptor{}, nil
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	drop(resp)
	desc := v1.Descriptor{
		Digest:    digest.Digest(resp.Header.Get("Docker-Content-Digest")),
		MediaType: mediaType(resp),
		Size:      resp.ContentLength,
	}
	known := slices.Contains(manifestTypes(), desc.MediaType)
	if !known || desc.Size <= 0 || desc.Size > maxManifest || ref.CheckDigest(string(desc.Digest)) != nil {
		return v1.Descriptor{}, nil
	}
	if r.Digest != "" && desc.Digest != r.Digest {
		return v1.Descriptor{}, nil
	}
	return desc, nil
}

// get reads a manifest and checks it against what is known of it: r.Digest,
// the digest that the registry claims, want.Size.
func (c *Client) get(ctx context.Context, ep hosts.Endpoint, r ref.Ref, want v1.Descriptor) (v1.Descriptor, []byte, error) {
	resp, err := c.send(ctx, manifestCall(http.MethodGet, ep, r))
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	defer resp.Body.Close()
	bad := func(format string, args ...any) (v1.Descriptor, []byte, error) {
		return v1.Descriptor{}, nil, fault.New(fault.Invalid, "read manifest of %s from %s: %s", r.Familiar(), ep, fmt.Sprintf(format, args...))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case len(body) > maxManifest:
		return bad("larger than %d bytes", maxManifest)
	case err != nil:
		return v1.Descriptor{}, nil, fmt.Errorf("read manifest of %s from %s: %w", r.Familiar(), ep, err)
	case want.Size > 0 && int64(len(body)) != want.Size:
		return bad("%d bytes instead of %d", len(body), want.Size)
	}
	algorithm := digest.SHA256
	claimed := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if r.Digest != "" {
		algorithm, claimed = r.Digest.Algorithm(), r.Digest
	} else if claimed != "" {
		if ref.CheckDigest(string(claimed)) != nil {
			return bad("its digest %q is none", clean(string(claimed), 100))
		}
		algorithm = claimed.Algorithm()
	}
	got := digestOf(algorithm, body)
	if claimed != "" && got != claimed {
		return bad("the bytes are %s, not %s", got, claimed)
	}
	declared, err := declaredType(body)
	if err != nil {
		return bad("%v", err)
	}
	media := mediaType(resp)
	if slices.Contains(manifestTypes(), media) && declared != "" && media != declared {
		return bad("sent as %s, but it says %s", media, declared)
	}
	if declared == "" {
		declared = media
	}
	if strings.HasPrefix(declared, dockerSchema1) {
		return v1.Descriptor{}, nil, fault.New(fault.Unsupported, "read manifest of %s from %s: docker's schema 1 is not supported any more: push the image again with a newer tool", r.Familiar(), ep)
	}
	if want.MediaType == "" && !slices.Contains(manifestTypes(), declared) {
		return bad("%q is no manifest", clean(declared, 100))
	}
	return v1.Descriptor{MediaType: declared, Digest: got, Size: int64(len(body))}, body, nil
}

// digestOf needs no algorithm that registered itself: ref.CheckDigest lets only
// these two through.
func digestOf(a digest.Algorithm, b []byte) digest.Digest {
	if a == digest.SHA512 {
		sum := sha512.Sum512(b)
		return digest.NewDigestFromBytes(a, sum[:])
	}
	sum := sha256.Sum256(b)
	return digest.NewDigestFromBytes(digest.SHA256, sum[:])
}

// declaredType is what the document says to be: its mediaType, or what its
// fields can only mean.
func declaredType(body []byte) (string, error) {
	var in struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", fmt.Errorf("no JSON document: %w", err)
	}
	switch {
	case in.SchemaVersion == 1 || in.FSLayers != nil:
		return dockerSchema1, nil
	case in.Manifests != nil && in.Layers != nil:
		return "", errors.New("manifest and index at once")
	case in.MediaType != "":
		return clean(in.MediaType, 200), nil
	case in.Manifests != nil:
		return v1.MediaTypeImageIndex, nil
	case in.Layers != nil:
		return v1.MediaTypeImageManifest, nil
	}
	return "", nil
}

// mediaType is the Content-Type without its parameters.
func mediaType(resp *http.Response) string {
	t, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
