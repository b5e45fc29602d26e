package content

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	version   = 1
	maxLabels = 1 << 20 // bytes of a file of labels
	maxLabel  = 4096    // bytes of one key and its value, as containerd has it
)

// labels is a file of labels.
type labels struct {
	Version int               `json:"version"`
	Updated time.Time         `json:"updated"`
	Labels  map[string]string `json:"labels"`
}

func parseLabels(b []byte) (labels, error) {
	var l labels
	if err := decode(b, &l); err != nil {
		return labels{}, err
	}
	if l.Version != version {
		return labels{}, fault.New(fault.Unsupported, "version %d is not known", l.Version)
	}
	return l, nil
}

func decode(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	return nil
}

// readLabels gives the labels of a blob; none is no error.
func (t *tags) readLabels(d digest.Digest) (labels, error) {
	path, err := t.labelsPath(d)
	if err != nil {
		return labels{}, err
	}
	b, err := atomicfile.ReadCapped(path, maxLabels)
	if fault.Is(err, fault.NotFound) {
		return labels{}, nil
	}
	if err != nil {
		return labels{}, err
	}
	l, err := parseLabels(b)
	if err != nil {
		return labels{}, fmt.Errorf("labels %s: %w", path, err)
	}
	return l, nil
}

// writeLabels replaces the labels of a blob; the caller holds its lock.
func (t *tags) writeLabels(d digest.Digest, m map[string]string, updated time.Time) error {
	path, err := t.labelsPath(d)
	if err != nil {
		return err
	}
	b, err := json.Marshal(labels{Version: version, Updated: updated, Labels: m})
	if err != nil {
		return err
	}
	if len(b) > maxLabels {
		return fault.New(fault.Invalid, "labels of content %s take %d bytes: %w", d, len(b), errdefs.ErrInvalidArgument)
	}
	var opts []atomicfile.Option
	if t.syncing() {
		opts = append(opts, atomicfile.Sync)
	}
	return atomicfile.Write(path, b, 0o600, opts...)
}

func (t *tags) dropLabels(d digest.Digest) error {
	path, err := t.labelsPath(d)
	if err != nil {
		return err
	}
	if err := unix.Unlink(path); err == unix.ENOENT || err == nil {
		return nil
	}
	// a folder, if anything
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove labels of content %s: %w", d, err)
	}
	return nil
}

// cleaned drops labels without a value, which is how one is taken away, and
// refuses those that containerd refuses.
func cleaned(in map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for k, v := range in {
		if len(k)+len(v) > maxLabel {
			return nil, fault.New(fault.Invalid, "label %.64q: key and value take more than %d bytes: %w", k, maxLabel, errdefs.ErrInvalidArgument)
		}
		if v != "" {
			out[k] = v
		}
	}
	return out, nil
}

// Update changes labels: those that fieldpaths name ("labels.KEY"), or all of
// them ("labels", or no fieldpath). An empty value removes a label.
func (s *Store) Update(ctx context.Context, info content.Info, fieldpaths ...string) (content.Info, error) {
	path, err := s.blobPath(info.Digest)
	if err != nil {
		return content.Info{}, err
	}
	gc, err := s.guard()
	if err != nil {
		return content.Info{}, err
	}
	defer gc.Unlock()
	lock, err := s.lockBlob(info.Digest)
	if err != nil {
		return content.Info{}, err
	}
	defer lock.Unlock()
	stat, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return content.Info{}, notFound(info.Digest)
	}
	if err != nil {
		return content.Info{}, fmt.Errorf("update content %s: %w", info.Digest, err)
	}
	now := s.info(info.Digest, stat)
	now.Labels, err = merged(now.Labels, info.Labels, fieldpaths)
	if err != nil {
		return content.Info{}, fmt.Errorf("update content %s: %w", info.Digest, err)
	}
	now.UpdatedAt = time.Now().UTC()
	if err := s.writeLabels(info.Digest, now.Labels, now.UpdatedAt); err != nil {
		return content.Info{}, fmt.Errorf("update content %s: %w", info.Digest, err)
	}
	return now, nil
}

// merged is old with the fields of update that fieldpaths name.
func merged(old, update map[string]string, fieldpaths []string) (map[string]string, error) {
	if len(fieldpaths) == 0 {
		return cleaned(update)
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	for _, p := range fieldpaths {
		key, one := strings.CutPrefix(p, "labels.")
		switch {
		case one:
			out[key] = update[key]
		case p == "labels":
			out = maps.Clone(update)
			if out == nil {
				out = map[string]string{}
			}
		default:
			return nil, fault.New(fault.Invalid, "field %q cannot be changed: %w", p, errdefs.ErrInvalidArgument)
		}
	}
	return cleaned(out)
}
