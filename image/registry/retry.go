package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"berth/base/fault"
	"berth/image/registry/hosts"
)

// badFor is how long a mirror that failed is left alone.
const badFor = 30 * time.Second

// each asks the endpoints one after the other until f succeeds. A mirror gets
// one try; the registry itself is tried again. The error is the registry's,
// with the first mirror's beside it if the registry could not be reached.
func (c *caller) each(ctx context.Context, what string, list []hosts.Endpoint, f func(hosts.Endpoint) error) (hosts.Endpoint, error) {
	list = c.usable(list)
	var mirrors []error
	for len(list) > 0 {
		ep, rest := list[0], list[1:]
		var clear *hosts.Endpoint // the same place by http, if it is insecure
		if len(rest) > 0 && rest[0].Host == ep.Host && ep.Scheme == "https" && rest[0].Scheme == "http" {
			clear, rest = &rest[0], rest[1:]
		}
		tries := 1 + c.o.Retries
		if ep.Mirror && len(rest) > 0 {
			tries = 1
		}
		used, err := c.place(ctx, what, tries, ep, clear, f)
		if err == nil {
			return used, nil
		}
		if len(rest) == 0 || ctx.Err() != nil {
			return used, withMirrors(err, mirrors)
		}
		c.distrust(used, err)
		mirrors = append(mirrors, fmt.Errorf("mirror %s: %w", ep.Host, err))
		list = rest
	}
	return hosts.Endpoint{}, fault.New(fault.NotFound, "%s: no endpoint", what)
}

// noTLSHere ends the tries of an insecure host by https.
type noTLSHere struct{ error }

func (n noTLSHere) Unwrap() error { return n.error }

// place asks one host: by https, and by http only if it is insecure and never
// answered by https.
func (c *caller) place(ctx context.Context, what string, tries int, ep hosts.Endpoint, clear *hosts.Endpoint, f func(hosts.Endpoint) error) (hosts.Endpoint, error) {
	err := c.retry(ctx, what, tries, func() error {
		err := f(ep)
		if err != nil && clear != nil && c.silent(ep) && mayBePlain(err) {
			return noTLSHere{err}
		}
		return err
	})
	var plain noTLSHere
	if !errors.As(err, &plain) || ctx.Err() != nil {
		return ep, err
	}
	return *clear, c.retry(ctx, what, tries, func() error { return f(*clear) })
}

// silent reports that an endpoint has not answered yet.
func (c *caller) silent(ep hosts.Endpoint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scheme[ep.Host] != ep.Scheme
}

// mayBePlain reports that the connection failed, and not for a reason of ours
// or a certificate's.
func mayBePlain(err error) bool {
	if noTLS(err) || errors.Is(err, errProxy) {
		return true
	}
	kind := fault.KindOf(err)
	return (kind == fault.Unknown || kind == fault.Unavailable) && !distrusted(err)
}

func withMirrors(err error, mirrors []error) error {
	var e *Error
	if len(mirrors) == 0 || errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("%w (%v)", err, errors.Join(mirrors[:1]...))
}

// usable leaves out mirrors that failed just now, and the form, https or http,
// that an insecure host was found not to speak.
func (c *caller) usable(list []hosts.Endpoint) []hosts.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	var out []hosts.Endpoint
	for _, ep := range list {
		if s := c.scheme[ep.Host]; s != "" && s != ep.Scheme && paired(list, ep) {
			continue
		}
		if ep.Mirror && now.Before(c.bad[originOf(ep)]) {
			continue
		}
		out = append(out, ep)
	}
	if len(out) == 0 {
		return list
	}
	return out
}

// paired reports whether ep has the same host's other scheme in the list.
func paired(list []hosts.Endpoint, ep hosts.Endpoint) bool {
	for _, x := range list {
		if x.Host == ep.Host && x.Scheme != ep.Scheme {
			return true
		}
	}
	return false
}

// speaks notes that an endpoint answered.
func (c *caller) speaks(ep hosts.Endpoint) {
	c.mu.Lock()
	c.scheme[ep.Host] = ep.Scheme
	c.mu.Unlock()
}

// distrust leaves a mirror alone for a while, unless it only lacks something.
func (c *caller) distrust(ep hosts.Endpoint, err error) {
	var e *Error
	if !ep.Mirror || errors.As(err, &e) && e.Status < 500 && e.Status != 429 {
		return
	}
	c.mu.Lock()
	c.bad[originOf(ep)] = time.Now().Add(badFor)
	c.mu.Unlock()
}

// retry calls f until it succeeds, fails for good, or has failed tries times.
func (c *caller) retry(ctx context.Context, what string, tries int, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil || n >= tries || !mayPass(err) || ctx.Err() != nil {
			return err
		}
		if err := c.pause(ctx, what, n, err); err != nil {
			return err
		}
	}
}

// pause waits before try n+1: longer each time, a little by chance, or as long
// as the registry asked for. It gives cause back if that is too long.
func (c *caller) pause(ctx context.Context, what string, n int, cause error) error {
	d := min(c.o.Delay<<min(n-1, 16), 30*time.Second)
	d += rand.N(d/4 + 1)
	var e *Error
	if errors.As(cause, &e) && e.RetryAfter > 0 {
		if e.RetryAfter > c.o.MaxWait {
			return fmt.Errorf("%w (to be tried again after %s)", cause, e.RetryAfter)
		}
		d = max(d, e.RetryAfter)
	}
	if c.o.OnRetry != nil {
		c.o.OnRetry(what, d, cause)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
