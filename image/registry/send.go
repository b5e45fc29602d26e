package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"berth/base/fault"
	"berth/image/registry/hosts"
)

// call is one request to one endpoint.
type call struct {
	method string
	ep     hosts.Endpoint
	path   string     // below the prefix; ignored if at is set
	query  url.Values // beside ns
	at     *url.URL   // a place that the endpoint named (an upload)
	header http.Header
	body   func() (io.ReadCloser, error)
	length int64
	scopes []string
	wait   time.Duration // for the answer, after the last byte was sent; 0: Stall
}

// endpointURL makes the address of a call.
func endpointURL(k call) *url.URL {
	if k.at != nil {
		return k.at
	}
	u := &url.URL{Scheme: k.ep.Scheme, Host: k.ep.Host, Path: k.ep.Prefix + k.path}
	q := url.Values{}
	for name, v := range k.query {
		q[name] = v
	}
	if k.ep.Namespace != "" {
		q.Set("ns", k.ep.Namespace)
	}
	u.RawQuery = q.Encode()
	return u
}

// send performs a call: with what the endpoint wants to see of us, refreshed
// once after a 401, and with redirects followed for GET and HEAD. An answer of
// 300 and above is an *Error.
func (c *caller) send(ctx context.Context, k call) (*http.Response, error) {
	var ch challenge
	c.mu.Lock()
	ch = c.challenges[originOf(k.ep)]
	c.mu.Unlock()
	for try := 0; ; try++ {
		auth, err := c.authorization(ctx, k, ch, try > 0)
		if err != nil {
			return nil, err
		}
		resp, away, err := c.follow(ctx, k, auth)
		if err != nil {
			return nil, err
		}
		c.speaks(k.ep)
		if resp.StatusCode == http.StatusUnauthorized && !away && try == 0 {
			if got, ok := pick(resp.Header); ok {
				drop(resp)
				ch = got
				c.mu.Lock()
				c.challenges[originOf(k.ep)] = got
				c.mu.Unlock()
				continue
			}
		}
		if resp.StatusCode >= 300 {
			return nil, refusal(k.method, resp)
		}
		return resp, nil
	}
}

// follow sends the request and goes where redirects lead. away tells that the
// answer comes from another place than the endpoint: our secrets and headers
// did not go there, and once away we do not take them up again.
func (c *caller) follow(ctx context.Context, k call, auth string) (resp *http.Response, away bool, err error) {
	u := endpointURL(k)
	from := k.ep
	away = origin(u.Scheme, u.Host) != originOf(k.ep)
	for hop := 0; ; hop++ {
		tlsOf := from.TLS
		if away {
			if tlsOf, err = c.elsewhere(k.ep, u); err != nil {
				return nil, away, err
			}
		}
		req, err := c.request(ctx, k, u)
		if err != nil {
			return nil, away, err
		}
		if !away || !guardOrigin {
			for name, values := range k.ep.Header {
				req.Header[http.CanonicalHeaderKey(name)] = values
			}
			if auth != "" {
				req.Header.Set("Authorization", auth)
			}
		}
		t, err := c.transport(tlsOf, dialTime(k.ep))
		if err != nil {
			return nil, away, err
		}
		resp, err = c.roundTrip(req, t, k.wait)
		if err != nil {
			return nil, away, err
		}
		if !isRedirect(resp.StatusCode) || k.method != http.MethodGet && k.method != http.MethodHead {
			return resp, away, nil
		}
		next, err := location(u, resp.Header.Get("Location"))
		drop(resp)
		if err != nil {
			return nil, away, fault.New(fault.Invalid, "%s %s: redirect: %w", k.method, shown(u), err)
		}
		if hop == maxRedirect {
			return nil, away, fault.New(fault.Invalid, "%s %s: more than %d redirects", k.method, shown(endpointURL(k)), maxRedirect)
		}
		away = away || origin(next.Scheme, next.Host) != originOf(k.ep)
		u = next
	}
}

// dialTime is shorter for a mirror: the next endpoint waits behind it.
func dialTime(ep hosts.Endpoint) time.Duration {
	if ep.Dial == 0 && ep.Mirror {
		return 10 * time.Second
	}
	return ep.Dial
}

// elsewhere is how the target of a redirect is verified: by the settings of
// its own host, and by the authorities of the endpoint that sent us there. Our
// client certificate stays here.
func (c *caller) elsewhere(ep hosts.Endpoint, u *url.URL) (hosts.TLS, error) {
	t, err := c.o.Hosts.TLSOf(u.Host)
	t.CA = append(t.CA[:len(t.CA):len(t.CA)], ep.TLS.CA...)
	return t, err
}

func (c *caller) request(ctx context.Context, k call, u *url.URL) (*http.Request, error) {
	if origin(u.Scheme, u.Host) == originOf(k.ep) && u.Scheme == "https" {
		// Who shakes hands speaks TLS, whatever comes of the request.
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				c.speaks(k.ep)
			}
		}})
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s %s: %w", k.method, shown(u), err)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if k.body != nil {
		if req.Body, err = k.body(); err != nil {
			return nil, err
		}
		req.ContentLength = k.length
		if k.length == 0 {
			req.Body.Close()
			req.Body = http.NoBody
		}
	}
	return req, nil
}

// isRedirect leaves out what is none for a GET: 304, 305, 306.
func isRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// location resolves the place that an answer of u names. From https it may
// not lead to http; a proxy that ends TLS makes registries name themselves by
// http, and that is mended: the same host is asked by https.
func location(u *url.URL, s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("no Location")
	}
	next, err := u.Parse(s)
	if err != nil {
		return nil, errors.New("the Location is no URL")
	}
	next.User, next.Fragment = nil, ""
	switch {
	case next.Host == "" || next.Scheme != "http" && next.Scheme != "https":
		return nil, fmt.Errorf("%s is no http address", shown(next))
	case u.Scheme == "https" && next.Scheme == "http" && strings.EqualFold(u.Host, next.Host):
		next.Scheme = "https"
	case u.Scheme == "https" && next.Scheme == "http":
		return nil, fmt.Errorf("from https to %s is refused", shown(next))
	}
	return next, nil
}

// roundTrip is one request that never hangs: the answer must begin within
// wait, and each read of it must bring a byte within Stall.
func (c *caller) roundTrip(req *http.Request, t *http.Transport, wait time.Duration) (*http.Response, error) {
	if wait <= 0 {
		wait = c.o.Stall
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(max(wait, c.o.Stall), func() { cancel(errStalled) })
	req = req.WithContext(ctx)
	var over atomic.Bool
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sending{ReadCloser: req.Body, timer: timer, over: &over, stall: c.o.Stall, wait: wait}
	}
	resp, err := t.RoundTrip(req)
	over.Store(true)
	timer.Stop()
	if err != nil {
		if stalled := context.Cause(ctx); errors.Is(stalled, errStalled) {
			err = stalled
		}
		cancel(nil)
		if ctxErr := req.Context().Err(); ctxErr == nil || errors.Is(err, errStalled) {
			err = unwrapURL(err)
		}
		return nil, fmt.Errorf("%s %s: %w", req.Method, shown(req.URL), err)
	}
	resp.Request = req
	resp.Body = &watched{body: resp.Body, ctx: ctx, cancel: cancel, stall: c.o.Stall}
	return resp, nil
}

func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// sending winds the clock of a request that has a body.
type sending struct {
	io.ReadCloser
	timer       *time.Timer
	over        *atomic.Bool // an early answer came
	stall, wait time.Duration
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.over.Load() {
		return n, err
	}
	if err != nil {
		s.timer.Reset(s.wait)
	} else {
		s.timer.Reset(s.stall)
	}
	return n, err
}

// watched is a body whose every Read has a time limit. The clock stands while
// nobody reads.
type watched struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  time.Duration
	timer  *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.stall, func() { w.cancel(errStalled) })
	} else {
		w.timer.Reset(w.stall)
	}
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
			err = cause
		}
	}
	return n, err
}

func (w *watched) Close() error {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
	return w.body.Close()
}

// drop ends an answer that nobody reads; a short rest is read so that the
// connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}

// readUpTo reads at most limit bytes; whole is false if there were more or if
// reading failed.
func readUpTo(r io.Reader, limit int64) (b []byte, whole bool) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	return b, err == nil && int64(len(b)) <= limit
}
