package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"berth/base/fault"
	"berth/image/registry/hosts"
)

// Found is one line of a search.
type Found struct {
	Name, Description string
	Stars             int
	Official          bool
	Automated         bool
}

// MaxSearch is the most results that one search gives, as at Docker Hub.
const MaxSearch = 100

// Search asks the v1 search endpoint of a registry ("docker.io" for Docker
// Hub's index); limit 0 is 25. Filters are docker's: stars=N, is-official and
// is-automated with a truth value. A registry without such an endpoint gives
// kind Unsupported.
func (c *Client) Search(ctx context.Context, registry, term string, limit int, filters map[string][]string) ([]Found, error) {
	if limit == 0 {
		limit = 25
	}
	if limit < 1 || limit > MaxSearch {
		return nil, fault.New(fault.Invalid, "search %s: limit %d is outside the range of [1, %d]", registry, limit, MaxSearch)
	}
	keep, err := searchFilter(filters)
	if err != nil {
		return nil, err
	}
	list, err := c.searchEndpoints(registry)
	if err != nil {
		return nil, err
	}
	var page struct {
		Results []struct {
			Name        string `json:"name"`
			Description string `json:"description"`
			Stars       int    `json:"star_count"`
			Official    bool   `json:"is_official"`
			Automated   bool   `json:"is_automated"`
		} `json:"results"`
	}
	what := "search " + registry
	_, err = c.each(ctx, what, list, func(ep hosts.Endpoint) error {
		_, err := c.readJSON(ctx, call{method: http.MethodGet, ep: ep, path: "/search",
			query: url.Values{"q": {term}, "n": {strconv.Itoa(limit)}}}, &page)
		return err
	})
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed) {
		return nil, fault.New(fault.Unsupported, "search %s: the registry offers no search (GET /v1/search: status %d)", registry, e.Status)
	}
	if err != nil {
		return nil, named(what, err)
	}
	var out []Found
	for _, r := range page.Results {
		f := Found{clean(r.Name, 300), clean(r.Description, 1000), r.Stars, r.Official, r.Automated}
		if f.Name != "" && keep(f) && len(out) < limit {
			out = append(out, f)
		}
	}
	return out, nil
}

// searchEndpoints is where the old protocol lives: at the mirrors, most of which
// do not speak it, and at the registry.
func (c *Client) searchEndpoints(registry string) ([]hosts.Endpoint, error) {
	list, err := c.o.Hosts.Registry(registry)
	if err != nil {
		return nil, err
	}
	mirrors, err := c.o.Hosts.Endpoints(registry, "berth", hosts.Tag)
	if err != nil && !fault.Is(err, fault.Unsupported) { // nobody to pull from is no hindrance
		return nil, err
	}
	mirrors = slices.DeleteFunc(mirrors, func(e hosts.Endpoint) bool { return !e.Mirror })
	for i := range list {
		if list[i].Registry == "docker.io" {
			// The index is another host than the registry: it gets no secret.
			list[i].Host, list[i].Registry = "index.docker.io", ""
		}
	}
	list = append(mirrors, list...)
	for i := range list {
		list[i].Prefix, list[i].Repository, list[i].Namespace = "/v1", "", ""
	}
	return list, nil
}

func searchFilter(filters map[string][]string) (func(Found) bool, error) {
	var tests []func(Found) bool
	for key, values := range filters {
		for _, v := range values {
			switch key {
			case "stars":
				n, err := strconv.Atoi(v)
				if err != nil {
					return nil, fault.New(fault.Invalid, "Invalid filter 'stars=%s'", v)
				}
				tests = append(tests, func(f Found) bool { return f.Stars >= n })
			case "is-official", "is-automated":
				want, err := strconv.ParseBool(v)
				if err != nil {
					return nil, fault.New(fault.Invalid, "Invalid filter '%s=%s'", key, v)
				}
				official := key == "is-official"
				tests = append(tests, func(f Found) bool {
					if official {
						return f.Official == want
					}
					return f.Automated == want
				})
			default:
				return nil, fault.New(fault.Invalid, "Invalid filter '%s'", key)
			}
		}
	}
	return func(f Found) bool {
		for _, t := range tests {
			if !t(f) {
				return false
			}
		}
		return true
	}, nil
}
