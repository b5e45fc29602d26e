// Package registry speaks the distribution protocol (OCI distribution-spec
// 1.1, docker's registry v2 with its token servers): it resolves names, reads
// manifests and blobs, pushes, mounts, lists tags and searches. It asks
// mirrors before the registry, tries again what may pass, and goes on where a
// blob broke off. It is not a store: it verifies manifests, but blobs are
// verified by whoever writes them. Row 3, room image.
//
// What a registry may see of us (the only places where secrets are handled
// are token.go and send.go):
//
//   - a credential belongs to one scheme, host and port and goes nowhere else;
//     a redirect to another place is followed without it;
//   - a token server on another host gets it only by https, and only if the
//     registry that named it was verified by https;
//   - nothing goes from https to http: no redirect, no token server;
//   - the `urls` of a descriptor are asked without any credential.
//
// There is one lock, caller.mu; it is never held across a request.
package registry

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"berth/image/ref"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

// The caps on what a registry may send, with maxManifest.
const (
	maxToken    = 1 << 20
	maxError    = 1 << 20
	maxList     = 4 << 20 // one page of tags or of search results
	maxRedirect = 5
)

// Options are the values of a Client; the zero value of each is a default.
type Options struct {
	// Hosts says which endpoints serve a registry; nil knows no mirror.
	Hosts *hosts.Table
	// Credentials finds the secret for repository of registry ("docker.io" for
	// Docker Hub); nil is nobody. It may be called from several goroutines.
	Credentials func(ctx context.Context, registry, repository string) (credential.Credential, error)
	UserAgent   string // "berth"
	// Retries is how often something that may pass is tried again: 3 if 0,
	// never if negative. A blob that goes forward starts to count anew.
	Retries int
	// Delay is the first pause, doubled each time: 500 ms.
	Delay time.Duration
	// Stall is the longest time without a byte: 60 s.
	Stall time.Duration
	// MaxWait is the longest Retry-After that is obeyed: 2 minutes.
	MaxWait time.Duration
	// Proxy is http.ProxyFromEnvironment if nil.
	Proxy func(*http.Request) (*url.URL, error)
	// OnRetry is told of each pause before it begins.
	OnRetry func(what string, pause time.Duration, cause error)
}

// Client is safe for concurrent use. It keeps connections and tokens.
type Client struct{ *caller }

// caller is the lower half of a client: single requests, what they must show,
// and what is done when they fail. It knows no manifest and no blob.
type caller struct {
	o Options

	mu         sync.Mutex
	transports map[string]*http.Transport
	challenges map[string]challenge // by origin
	tokens     map[string]*token
	bad        map[string]time.Time // endpoints to be left alone until then
	scheme     map[string]string    // what an insecure host was found to speak
	refresh    string               // the identity token that a login was given
	login      bool                 // ask for one
}

// New opens no connection.
func New(o Options) *Client {
	if o.Hosts == nil {
		o.Hosts, _ = hosts.Load(hosts.Options{})
	}
	if o.UserAgent == "" {
		o.UserAgent = "berth"
	}
	switch {
	case o.Retries == 0:
		o.Retries = 3
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.Delay <= 0 {
		o.Delay = 500 * time.Millisecond
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 2 * time.Minute
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return &Client{&caller{
		o:          o,
		transports: map[string]*http.Transport{},
		challenges: map[string]challenge{},
		tokens:     map[string]*token{},
		bad:        map[string]time.Time{},
		scheme:     map[string]string{},
	}}
}

// Close closes the connections that are idle.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// content lists where to read what belongs to r.
func (c *Client) content(r ref.Ref) ([]hosts.Endpoint, error) {
	if r.Digest != "" {
		return c.endpoints(r, hosts.Digest)
	}
	return c.endpoints(r, hosts.Content)
}

// endpoints lists where to ask for r.
func (c *Client) endpoints(r ref.Ref, p hosts.Purpose) ([]hosts.Endpoint, error) {
	return c.o.Hosts.Endpoints(r.Domain, r.Path, p)
}
