package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"berth/base/fault"
	"berth/image/ref"
	"berth/image/registry/hosts"
)

// The caps on a list of tags.
const (
	maxTags  = 1_000_000
	maxPages = 10_000
)

// Tags lists the tags of r's repository in the registry's order, page by page.
func (c *Client) Tags(ctx context.Context, r ref.Ref) ([]string, error) {
	list, err := c.endpoints(r, hosts.Tag)
	if err != nil {
		return nil, err
	}
	var tags []string
	what := "list tags of " + r.FamiliarName()
	_, err = c.each(ctx, what, list, func(ep hosts.Endpoint) error {
		tags, err = c.allTags(ctx, ep)
		return err
	})
	if err != nil {
		return nil, named(what, err)
	}
	return tags, nil
}

func (c *Client) allTags(ctx context.Context, ep hosts.Endpoint) ([]string, error) {
	var tags []string
	k := call{method: http.MethodGet, ep: ep, path: "/" + ep.Repository + "/tags/list", query: url.Values{"n": {"1000"}},
		scopes: []string{pullScope(ep.Repository)}}
	for range maxPages {
		var page struct {
			Tags []string `json:"tags"`
		}
		resp, err := c.readJSON(ctx, k, &page)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tags {
			if _, err := (ref.Ref{Domain: ep.Host, Path: ep.Repository}).WithTag(t); err != nil {
				return nil, fault.New(fault.Invalid, "%s sent %q as a tag", ep, clean(t, 100))
			}
		}
		if tags = append(tags, page.Tags...); len(tags) > maxTags {
			return nil, fault.New(fault.Invalid, "%s has more than %d tags", ep, maxTags)
		}
		at := resp.Request.URL
		next, err := nextPage(at, resp.Header.Values("Link"))
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: next page: %w", ep, err)
		}
		if next == nil {
			return tags, nil
		}
		if len(page.Tags) == 0 || next.String() == at.String() {
			return nil, fault.New(fault.Invalid, "%s: the pages of tags do not end", ep)
		}
		k.at = next
	}
	return nil, fault.New(fault.Invalid, "%s: more than %d pages of tags", ep, maxPages)
}

// readJSON reads one capped document.
func (c *Client) readJSON(ctx context.Context, k call, to any) (*http.Response, error) {
	resp, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, whole := readUpTo(resp.Body, maxList)
	if !whole {
		if int64(len(body)) > maxList {
			return nil, fault.New(fault.Invalid, "read %s: larger than %d bytes", shown(resp.Request.URL), maxList)
		}
		return nil, fault.New(fault.Unavailable, "read %s: broke off", shown(resp.Request.URL))
	}
	if err := json.Unmarshal(body, to); err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", shown(resp.Request.URL), err)
	}
	return resp, nil
}

// nextPage finds rel=next in Link headers (RFC 8288), nil if there is none. A
// page on another host is refused: we would ask it with our token.
func nextPage(at *url.URL, links []string) (*url.URL, error) {
	for _, line := range links {
		for line != "" {
			_, rest, ok := strings.Cut(line, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, after := rest, ""
			if i := strings.IndexByte(rest, '<'); i >= 0 {
				params, after = rest[:i], rest[i:]
			}
			line = after
			if !isNext(params) {
				continue
			}
			next, err := at.Parse(target)
			if err != nil {
				return nil, fmt.Errorf("%q is no URL", clean(target, 200))
			}
			if origin(next.Scheme, next.Host) != origin(at.Scheme, at.Host) || next.User != nil {
				return nil, fmt.Errorf("%s is on another host", shown(next))
			}
			return next, nil
		}
	}
	return nil, nil
}

func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.Trim(p, " \t,"), "=")
		if strings.EqualFold(strings.TrimSpace(key), "rel") && strings.EqualFold(strings.Trim(value, `" `), "next") {
			return true
		}
	}
	return false
}
