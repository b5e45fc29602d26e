package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/image/registry/hosts"
)

// maxPEM is the cap on a file with certificates or a key.
const maxPEM = 1 << 20

// transport gives the connections of endpoints that are verified alike.
func (c *caller) transport(t hosts.TLS, dial time.Duration) (*http.Transport, error) {
	key := fmt.Sprint(t, dial)
	c.mu.Lock()
	have := c.transports[key]
	c.mu.Unlock()
	if have != nil {
		return have, nil
	}
	made, err := c.newTransport(t, dial)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have = c.transports[key]; have != nil {
		return have, nil
	}
	c.transports[key] = made
	return made, nil
}

func (c *caller) newTransport(t hosts.TLS, dial time.Duration) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.SkipVerify}
	if len(t.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, file := range t.CA {
			pem, err := atomicfile.ReadCapped(file, maxPEM)
			if err != nil {
				return nil, fmt.Errorf("load authority: %w", err)
			}
			if !pool.AppendCertsFromPEM(pem) {
				return nil, fault.New(fault.Invalid, "load authority %s: no certificate in it", file)
			}
		}
		config.RootCAs = pool
	}
	for _, p := range t.Client {
		pair, err := loadPair(p)
		if err != nil {
			return nil, err
		}
		config.Certificates = append(config.Certificates, pair)
	}
	if dial <= 0 {
		dial = 30 * time.Second
	}
	return &http.Transport{
		Proxy:                  c.o.Proxy,
		DialContext:            (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dial,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // the bytes as they are
		ForceAttemptHTTP2:      true,
		OnProxyConnectResponse: proxyAnswer,
		// A dead HTTP/2 connection would stall every try anew.
		HTTP2: &http.HTTP2Config{SendPingTimeout: max(c.o.Stall/2, time.Second), PingTimeout: 15 * time.Second},
	}, nil
}

// errProxy marks what a proxy did not let through: no endpoint was reached.
var errProxy = errors.New("no way through the proxy")

// proxyAnswer gives a refused CONNECT its reason.
func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	kind := fault.Permission
	if resp.StatusCode >= 500 {
		kind = fault.Unavailable
	}
	return fault.New(kind, "%w %s: status %d %s", errProxy, proxy.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
}

func loadPair(p hosts.Pair) (tls.Certificate, error) {
	if p.Key == "" {
		p.Key = p.Cert
	}
	cert, err := atomicfile.ReadCapped(p.Cert, maxPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("load client certificate: %w", err)
	}
	key, err := atomicfile.ReadCapped(p.Key, maxPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("load client key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fault.New(fault.Invalid, "load client certificate %s: %w", p.Cert, err)
	}
	return pair, nil
}

// origin is scheme, host and port in one form.
func origin(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else if scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + host
}

func originOf(e hosts.Endpoint) string { return origin(e.Scheme, e.Host) }
