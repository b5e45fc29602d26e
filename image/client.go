package image

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/image/registry"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

// reach is how one verb reaches registries.
type reach struct {
	auth     *Credential
	anyTLS   bool // --tls-verify=false: http, or https without verification
	retries  int
	delay    time.Duration
	progress func(Progress) // told of retries; may be nil
}

func (c Credential) kept() credential.Credential {
	return credential.Credential{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}
}

// client makes a client for one verb; the caller closes it.
func (d dialect) client(r reach) (*registry.Client, error) {
	table, err := d.hosts()
	if err != nil {
		return nil, err
	}
	if r.anyTLS {
		o := d.hostOptions()
		o.Insecure = append(o.Insecure, "*")
		if table, err = hosts.Load(o); err != nil {
			return nil, err
		}
	}
	find := d.credentials("").Lookup
	if r.auth != nil {
		find = func(context.Context, string, string) (credential.Credential, error) { return r.auth.kept(), nil }
	}
	o := registry.Options{Hosts: table, Credentials: find, Retries: r.retries, Delay: r.delay}
	if r.progress != nil {
		o.OnRetry = func(what string, _ time.Duration, cause error) {
			r.progress(Progress{Step: StepRetrying, Detail: what + ": " + cause.Error()})
		}
	}
	return registry.New(o), nil
}

// teller serializes a request's progress, and drops what comes too often.
func teller(f func(Progress), refName string) func(Progress) {
	if f == nil {
		return func(Progress) {}
	}
	lock := make(chan struct{}, 1)
	last := map[digest.Digest]Progress{}
	told := map[digest.Digest]time.Time{}
	return func(p Progress) {
		lock <- struct{}{}
		defer func() { <-lock }()
		before := last[p.Digest]
		if before.Step == p.Step && p.Current < p.Total && time.Since(told[p.Digest]) < 100*time.Millisecond {
			return
		}
		last[p.Digest], told[p.Digest] = p, time.Now()
		p.Ref = refName
		f(p)
	}
}
