package image

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/image/registry"
	"berth/image/registry/credential"
	"berth/image/registry/hosts"
)

func (c Credential) kept() credential.Credential {
	return credential.Credential{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}
}

// client makes a client for one verb; the caller closes it. progress is told of
// retries, it may be nil.
func (d dialect) client(a Access, progress func(Progress)) (*registry.Client, error) {
	table, err := d.hosts()
	if err != nil {
		return nil, err
	}
	if a.AnyTLS || a.CertDir != "" {
		o := d.hostOptions()
		o.CertDir = a.CertDir
		if a.AnyTLS {
			o.Insecure = append(o.Insecure, "*")
		}
		if table, err = hosts.Load(o); err != nil {
			return nil, err
		}
	}
	find := d.credentials(a.AuthFile).Lookup
	if a.Auth != nil {
		find = func(context.Context, string, string) (credential.Credential, error) { return a.Auth.kept(), nil }
	}
	o := registry.Options{Hosts: table, Credentials: find, Retries: a.Retries, Delay: a.RetryDelay}
	if progress != nil {
		o.OnRetry = func(what string, _ time.Duration, cause error) {
			progress(Progress{Step: StepRetrying, Detail: what + ": " + cause.Error()})
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
