package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"berth/base/fault"
	"berth/image/ref"
)

// Error is an answer that is a refusal.
type Error struct {
	Method, URL string // the address without its query
	Status      int
	// Code and Message are the first entry of the body: MANIFEST_UNKNOWN, …
	Code, Message string
	// RetryAfter is what a 429 or 503 asks for.
	RetryAfter time.Duration
}

// Error is one line in docker's form: METHOD URL: code: message.
func (e *Error) Error() string { return e.Method + " " + e.URL + ": " + e.Words() }

// Words is the refusal alone, as scripts know it: "manifest unknown: …",
// "unauthorized: …", "denied: …".
func (e *Error) Words() string {
	code, message := e.Code, e.Message
	if code == "" {
		switch e.Status {
		case http.StatusUnauthorized:
			code, message = "UNAUTHORIZED", or(message, "authentication required")
		case http.StatusForbidden:
			code, message = "DENIED", or(message, "requested access to the resource is denied")
		case http.StatusTooManyRequests:
			code, message = "TOOMANYREQUESTS", or(message, "too many requests")
		default:
			s := fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))
			if message != "" {
				s += ": " + message
			}
			return s
		}
	}
	return strings.ToLower(strings.ReplaceAll(code, "_", " ")) + ": " + or(message, "unknown")
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// kind is what the status means everywhere.
func (e *Error) kind() fault.Kind {
	switch {
	case e.Status == http.StatusNotFound:
		return fault.NotFound
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return fault.Permission
	case e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusNotImplemented:
		return fault.Unsupported
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout, e.Status >= 500:
		return fault.Unavailable
	}
	return fault.Invalid
}

// refusal reads an answer of status 300 and above and closes it. A body over
// the cap is not read further and not shown.
func refusal(method string, resp *http.Response) error {
	defer resp.Body.Close()
	e := &Error{Method: method, URL: shown(resp.Request.URL), Status: resp.StatusCode}
	body, whole := readUpTo(resp.Body, maxError)
	var in struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"`
		Message string `json:"message"`
	}
	switch {
	case !whole:
	case json.Unmarshal(body, &in) == nil:
		if len(in.Errors) > 0 {
			e.Code, e.Message = clean(in.Errors[0].Code, 64), clean(in.Errors[0].Message, 500)
		} else {
			e.Message = clean(or(in.Message, in.Details), 500)
		}
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain"):
		e.Message = clean(string(body), 200)
	}
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return fault.Wrap(e.kind(), e)
}

// clean makes foreign text one line without control characters.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.In(r, unicode.Cf) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// shown is an address without what may be secret in it.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// errStalled is the cause of a context that was ended by us.
var errStalled = fault.New(fault.Unavailable, "no byte came in time")

// mayPass reports whether the same request may succeed later.
func mayPass(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		switch e.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var plain noTLSHere
	if errors.As(err, &plain) {
		return false
	}
	if errors.Is(err, errStalled) {
		return true
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || noTLS(err) || distrusted(err) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Unknown, fault.Unavailable:
		return true
	}
	return false
}

// noTLS reports that the other side speaks something else.
func noTLS(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record)
}

// distrusted reports that a certificate was refused, by us or by them.
func distrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &alert)
}

// explainPull gives the refusal of a manifest docker's words, which scripts
// look for.
func explainPull(r ref.Ref, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == "DENIED" || e.Code == "UNAUTHORIZED" || e.Code == "" && e.kind() == fault.Permission:
		return fault.New(fault.Permission, "pull access denied for %s, repository does not exist or may require 'docker login': %w", r.FamiliarName(), words{e})
	case e.Code == "NAME_UNKNOWN":
		return fault.New(fault.NotFound, "repository %s not found: %w", r.FamiliarName(), words{e})
	case e.Code == "" && e.Status == http.StatusNotFound:
		return fault.New(fault.NotFound, "manifest for %s not found: manifest unknown: manifest unknown", r.Familiar())
	case e.Status == http.StatusNotFound:
		return fault.New(fault.NotFound, "manifest for %s not found: %w", r.Familiar(), words{e})
	}
	return fmt.Errorf("pull %s: %w", r.Familiar(), err)
}

// words is an Error without its address.
type words struct{ e *Error }

func (w words) Error() string { return w.e.Words() }
func (w words) Unwrap() error { return w.e }
