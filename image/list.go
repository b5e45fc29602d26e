package image

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/image/ref"
)

// List lists images, newest first. Error: kind Invalid for a filter that is
// none.
func (s *Store) List(ctx context.Context, o ListOptions) ([]Image, error) {
	all, err := s.lib.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	keep, err := filterBy(ctx, s, o.Filters)
	if err != nil {
		return nil, err
	}
	var parents map[digest.Digest]bool // not shown without a name, as long as they have children
	if !o.All || slices.Contains(o.Filters["dangling"], "true") {
		parents = parentsOf(all)
	}
	out := make([]Image, 0, len(all))
	for i := range all {
		if all[i].Bare() && parents[all[i].ID] {
			continue
		}
		if keep(&all[i].Image) {
			out = append(out, all[i].Image)
		}
	}
	return out, nil
}

// filter makes one question of many filters: all of them have to hold, and of
// several values of one filter any, except for labels.
func filterBy(ctx context.Context, s *Store, filters map[string][]string) (func(*Image) bool, error) {
	var all []func(*Image) bool
	for _, key := range slices.Sorted(mapKeys(filters)) {
		var any []func(*Image) bool
		for _, value := range filters[key] {
			f, err := filterOne(ctx, s, key, value)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(key, "label") || key == "before" || key == "since" || key == "after" || key == "until" {
				all = append(all, f)
			} else {
				any = append(any, f)
			}
		}
		if len(any) > 0 {
			all = append(all, func(i *Image) bool {
				return slices.ContainsFunc(any, func(f func(*Image) bool) bool { return f(i) })
			})
		}
	}
	return func(i *Image) bool {
		for _, f := range all {
			if !f(i) {
				return false
			}
		}
		return true
	}, nil
}

func mapKeys(m map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func filterOne(ctx context.Context, s *Store, key, value string) (func(*Image) bool, error) {
	switch key {
	case "dangling":
		want, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fault.New(fault.Invalid, "Invalid filter 'dangling=%s'", value)
		}
		return func(i *Image) bool { return i.Dangling() == want }, nil
	case "before", "since", "after":
		mark, err := s.Find(ctx, value)
		if err != nil {
			return nil, err
		}
		if key == "before" {
			return func(i *Image) bool { return i.Created.Before(mark.Created) }, nil
		}
		return func(i *Image) bool { return i.Created.After(mark.Created) }, nil
	case "until":
		limit, err := moment(value)
		if err != nil {
			return nil, err
		}
		return func(i *Image) bool { return i.Created.Before(limit) }, nil
	case "label", "label!":
		name, want, hasValue := strings.Cut(value, "=")
		return func(i *Image) bool {
			have, ok := i.Labels[name]
			return (ok && (!hasValue || have == want)) == (key == "label")
		}, nil
	case "reference":
		return func(i *Image) bool {
			return slices.ContainsFunc(slices.Concat(i.Names, i.Digests), func(n string) bool { return matches(value, n) })
		}, nil
	case "id":
		prefix := strings.TrimPrefix(value, "sha256:")
		return func(i *Image) bool { return strings.HasPrefix(i.ID.Encoded(), prefix) }, nil
	case "digest":
		return func(i *Image) bool {
			return slices.ContainsFunc(i.Digests, func(n string) bool { _, d, _ := strings.Cut(n, "@"); return strings.HasPrefix(d, value) })
		}, nil
	case "readonly", "intermediate", "manifest", "containers":
		want, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fault.New(fault.Invalid, "Invalid filter '%s=%s'", key, value)
		}
		// There are no read-only stores and no intermediate images here; lists
		// of several platforms count as manifests.
		return func(i *Image) bool { return (key == "manifest" && i.Target.Digest != i.Manifest) == want }, nil
	}
	return nil, fault.New(fault.Invalid, "Invalid filter '%s'", key)
}

// moment reads a time: RFC 3339 or its beginning, seconds since 1970, or how
// long ago.
func moment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Unix(0, int64(sec*1e9)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "failed to parse value as time or duration: %q", s)
}

// ShortID is an id as lists print it: 12 digits.
func ShortID(d digest.Digest) string { return ref.Short(d) }

// matches is the filter reference=PATTERN: docker's, on familiar names.
func matches(pattern, canonical string) bool {
	r, err := ref.Stored(canonical)
	if err != nil {
		return false
	}
	for _, name := range []string{r.Familiar(), r.FamiliarName(), r.String(), r.Name()} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}
