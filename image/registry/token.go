package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/base/fault"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

// token is a bearer token, or the wait for one that is being fetched.
type token struct {
	done    chan struct{}
	value   string
	expires time.Time
	err     error
}

// pullScope and pushScope are what a token is asked for (docker's token
// authentication: "repository:NAME:ACTIONS").
func pullScope(repository string) string { return "repository:" + repository + ":pull" }
func pushScope(repository string) string { return "repository:" + repository + ":pull,push" }

// authorization is the header for a call, "" for none. fresh asks for a new
// token, because the last answer was a 401.
func (c *caller) authorization(ctx context.Context, k call, ch challenge, fresh bool) (string, error) {
	if ch.scheme == "" {
		return "", nil
	}
	cred, err := c.credential(ctx, k.ep)
	if err != nil {
		return "", err
	}
	if ch.scheme == "basic" {
		if cred.Username == "" {
			return "", nil
		}
		return basic(cred), nil
	}
	if cred.RegistryToken != "" {
		return "Bearer " + cred.RegistryToken, nil
	}
	value, err := c.bearer(ctx, k, ch, cred, fresh)
	if err != nil || value == "" {
		return "", err
	}
	return "Bearer " + value, nil
}

func basic(cred credential.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.Username+":"+cred.Password))
}

func (c *caller) credential(ctx context.Context, ep hosts.Endpoint) (credential.Credential, error) {
	if c.o.Credentials == nil || ep.Registry == "" {
		return credential.Credential{}, nil
	}
	return c.o.Credentials(ctx, ep.Registry, ep.Repository)
}

// bearer gives a token from the cache or fetches one. Callers who want the
// same wait for the one who fetches.
func (c *caller) bearer(ctx context.Context, k call, ch challenge, cred credential.Credential, fresh bool) (string, error) {
	scopes := slices.Clone(k.scopes)
	if fresh {
		scopes = append(scopes, strings.Fields(ch.params["scope"])...)
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	key := strings.Join(append([]string{originOf(k.ep), ch.params["realm"], ch.params["service"],
		cred.Username, cred.Password, cred.IdentityToken}, k.scopes...), "\x00")
	for {
		c.mu.Lock()
		t := c.tokens[key]
		mine := t == nil || fresh && t.ended() || t.ended() && time.Now().After(t.expires)
		if mine {
			t = &token{done: make(chan struct{})}
			c.tokens[key] = t
		}
		c.mu.Unlock()
		if mine {
			t.value, t.expires, t.err = c.fetchToken(ctx, k.ep, ch, scopes, cred)
			c.mu.Lock()
			if t.err != nil && c.tokens[key] == t {
				delete(c.tokens, key)
			}
			c.mu.Unlock()
			close(t.done)
			return t.value, t.err
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if t.err == nil {
			return t.value, nil
		}
		fresh = false // the other one failed, perhaps because it was cancelled
	}
}

func (t *token) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// fetchToken asks the token server that the registry named.
func (c *caller) fetchToken(ctx context.Context, ep hosts.Endpoint, ch challenge, scopes []string, cred credential.Credential) (string, time.Time, error) {
	none := time.Time{}
	realm, err := realmOf(ep, ch.params["realm"], !cred.Empty())
	if err != nil {
		return "", none, fmt.Errorf("get a token for %s: %w", ep.Host, err)
	}
	req, err := c.tokenRequest(ctx, realm, ch.params["service"], scopes, cred)
	if err != nil {
		return "", none, fault.New(fault.Invalid, "get a token for %s: %w", ep.Host, err)
	}
	settings := ep.TLS
	if origin(realm.Scheme, realm.Host) != originOf(ep) {
		if settings, err = c.elsewhere(ep, realm); err != nil {
			return "", none, err
		}
	}
	t, err := c.transport(settings, dialTime(ep))
	if err != nil {
		return "", none, err
	}
	// No redirect is followed: this request carries a secret.
	resp, err := c.roundTrip(req, t, 0)
	if err != nil {
		return "", none, err
	}
	if resp.StatusCode != http.StatusOK {
		return "", none, fmt.Errorf("get a token for %s: %w", ep.Host, refusal(req.Method, resp))
	}
	defer resp.Body.Close()
	return c.readToken(realm, resp.Body)
}

// readToken checks what a token server sent.
func (c *caller) readToken(realm *url.URL, r io.Reader) (string, time.Time, error) {
	body, whole := readUpTo(r, maxToken)
	if !whole {
		return "", time.Time{}, fault.New(fault.Invalid, "read the token of %s: cut off, or larger than %d bytes", shown(realm), maxToken)
	}
	var in struct {
		Token        string  `json:"token"`
		AccessToken  string  `json:"access_token"`
		RefreshToken string  `json:"refresh_token"`
		ExpiresIn    float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", time.Time{}, fault.New(fault.Invalid, "read the token of %s: %w", shown(realm), err)
	}
	value := or(in.Token, in.AccessToken)
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", time.Time{}, fault.New(fault.Invalid, "read the token of %s: there is no token in it", shown(realm))
	}
	if c.login && in.RefreshToken != "" {
		c.mu.Lock()
		c.refresh = in.RefreshToken
		c.mu.Unlock()
	}
	// 60 s is what the protocol says when the server does not.
	life := 60 * time.Second
	if in.ExpiresIn > 60 && in.ExpiresIn < 1e6 {
		life = time.Duration(in.ExpiresIn) * time.Second
	}
	return value, time.Now().Add(life * 9 / 10), nil
}

// realmOf checks the address of the token server; secret tells that a
// credential would go there.
func realmOf(ep hosts.Endpoint, s string, secret bool) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "the realm %q is no address", clean(s, 200))
	}
	if ep.Scheme == "https" && u.Scheme != "https" {
		return nil, fault.New(fault.Permission, "the token server %s is not asked: from https to http is refused", shown(u))
	}
	if secret && guardOrigin && origin(u.Scheme, u.Host) != originOf(ep) {
		if u.Scheme != "https" {
			return nil, fault.New(fault.Permission, "the credential is not sent to %s: another host, and not by https", shown(u))
		}
		if ep.Scheme != "https" || ep.TLS.SkipVerify {
			return nil, fault.New(fault.Permission, "the credential is not sent to %s: another host, named by a registry that was not verified", shown(u))
		}
	}
	return u, nil
}

// tokenRequest is GET with basic authentication, or POST if there is an
// identity token to be exchanged (docker's oauth2 form).
func (c *caller) tokenRequest(ctx context.Context, realm *url.URL, service string, scopes []string, cred credential.Credential) (*http.Request, error) {
	u := *realm
	q := u.Query()
	if service != "" {
		q.Set("service", service)
	}
	var req *http.Request
	var err error
	if cred.IdentityToken != "" {
		q.Set("grant_type", "refresh_token")
		q.Set("refresh_token", cred.IdentityToken)
		q.Set("client_id", "berth")
		q.Set("scope", strings.Join(scopes, " "))
		u.RawQuery = ""
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(q.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		for _, s := range scopes {
			q.Add("scope", s)
		}
		if cred.Username != "" {
			q.Set("account", cred.Username)
		}
		if c.login {
			q.Set("offline_token", "true")
			q.Set("client_id", "berth")
		}
		u.RawQuery = q.Encode()
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil); err != nil {
			return nil, err
		}
		if cred.Username != "" {
			req.Header.Set("Authorization", basic(cred))
		}
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	return req, nil
}
