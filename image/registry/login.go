package registry

import (
	"context"
	"errors"
	"net/http"

	"berth/base/fault"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

// Ping asks whether a registry speaks the protocol and takes our credential:
// kind Permission if it does not, NotFound if it is no registry.
func (c *Client) Ping(ctx context.Context, registry string) error {
	list, err := c.o.Hosts.Registry(registry)
	if err != nil {
		return err
	}
	_, err = c.each(ctx, "ask "+registry, list, func(ep hosts.Endpoint) error {
		resp, err := c.send(ctx, call{method: http.MethodGet, ep: ep, path: "/"})
		if err == nil {
			drop(resp)
		}
		return err
	})
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return fault.New(fault.NotFound, "ask %s: no registry answers at %s", registry, e.URL)
	}
	return err
}

// Login verifies a credential. It gives back what is to be kept: the identity
// token instead of the password if the registry hands one out. A registry that
// asks nobody for a name accepts every credential.
func (c *Client) Login(ctx context.Context, registry string, cred credential.Credential) (credential.Credential, error) {
	o := c.o
	o.Credentials = func(context.Context, string, string) (credential.Credential, error) { return cred, nil }
	if o.Retries == 0 { // New means three by it
		o.Retries = -1
	}
	own := New(o)
	defer own.Close()
	own.login = true
	if err := own.Ping(ctx, registry); err != nil {
		return credential.Credential{}, named("log in to "+registry, err)
	}
	if own.refresh != "" {
		cred.IdentityToken, cred.Password = own.refresh, ""
	}
	return cred, nil
}
