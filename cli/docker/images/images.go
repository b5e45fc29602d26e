// Package images is the verbs on images in docker's and podman's words, one
// file a verb: parse into an engine request, render its result. What is common
// to several of them is here; the frame is package command. Row 6.
package images

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

// none stands for a name or tag that is not there.
const none = "<none>"

// shortLen is the length of a short id.
const shortLen = 12

// shortID is an id without its algorithm, cut to what lists show.
func shortID(id digest.Digest) string {
	s := hexOf(id)
	return s[:min(shortLen, len(s))]
}

func hexOf(id digest.Digest) string {
	_, s, ok := strings.Cut(string(id), ":")
	if !ok {
		return string(id)
	}
	return s
}

// showID is an id as --no-trunc and the dialect want it.
func showID(c *command.Call, id digest.Digest, whole bool) string {
	if whole {
		return string(id)
	}
	return shortID(id)
}

// since is "3 minutes ago".
func since(c *command.Call, t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(c.Now().Sub(t)) + " ago"
}

// size is docker's 1.98MB or podman's 1.98 MB.
func size(c *command.Call, n int64) string {
	s := units.HumanSizeWithPrecision(float64(n), 3)
	if !c.Podman() {
		return s
	}
	i := strings.IndexFunc(s, func(r rune) bool { return r >= 'A' })
	if i < 0 {
		return s
	}
	return s[:i] + " " + s[i:]
}

// splitTag parts a familiar name from its tag.
func splitTag(familiar string) (repository, tag string) {
	if name, _, ok := strings.Cut(familiar, "@"); ok {
		familiar = name
	}
	i := strings.LastIndexByte(familiar, ':')
	if i < 0 || strings.Contains(familiar[i:], "/") {
		return familiar, ""
	}
	return familiar[:i], familiar[i+1:]
}

// hasTag reports whether a name as typed has a tag or a digest.
func hasTag(typed string) bool {
	_, tag := splitTag(typed)
	return tag != "" || strings.Contains(typed, "@")
}

// withTag is a name as docker repeats it in errors.
func withTag(typed string) string {
	if hasTag(typed) {
		return typed
	}
	return typed + ":latest"
}

// ownName is the name of an image that is made here: podman puts those without
// a registry below localhost.
func ownName(c *command.Call, typed string) string {
	first, _, several := strings.Cut(typed, "/")
	if typed == "" || !c.Podman() || several && (first == "localhost" || strings.ContainsAny(first, ".:")) {
		return typed
	}
	return "localhost/" + typed
}

// unknownImage gives a NoImage the dialect's words; others stay as they are.
// docker is docker's words for the name.
func unknownImage(c *command.Call, err error, docker func(name string) error) error {
	var no *engine.NoImage
	if !errors.As(err, &no) {
		return command.FromEngine(err)
	}
	if c.Podman() {
		return fmt.Errorf("%s: image not known", no.Name)
	}
	return docker(no.Name)
}

// plainUnknown is the client's own line.
func plainUnknown(name string) error { return command.Line("Error: No such image: %s", name) }

// daemonUnknown is the daemon's line.
func daemonUnknown(name string) error {
	return command.FromEngine(command.Line("No such image: %s", withTag(name)))
}

// newestFirst sorts as lists do.
func newestFirst(list []image.Image) {
	slices.SortStableFunc(list, func(a, b image.Image) int {
		if n := b.Created.Compare(a.Created); n != 0 {
			return n
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

func familiarAll(e *engine.Engine, names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, e.Images.Familiar(n))
	}
	return out
}
