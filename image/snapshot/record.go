package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/base/fault"
)

const (
	recordVersion = 1
	maxRecord     = 1 << 20 // bytes of a record file
	maxKey        = 4096    // bytes of a key
)

// record is what the store knows of one snapshot.
type record struct {
	Version int               `json:"version"`
	Key     string            `json:"key"`
	ID      string            `json:"id"` // of the folder
	Kind    Kind              `json:"kind"`
	Parent  string            `json:"parent,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Size    int64             `json:"size,omitempty"`
	Inodes  int64             `json:"inodes,omitempty"`
	Limit   int64             `json:"limit,omitempty"` // bytes that it may hold
	// Unsynced is the boot id of the machine when this was committed without a
	// sync. As long as unsynced/HASH is there, it counts only in that boot.
	Unsynced string `json:"unsynced,omitempty"`
	// Next is what the record says in its place once its file bears the name of
	// Next.Key: a commit writes it, then renames the file.
	Next *record `json:"next,omitempty"`
}

// hashOf is the name of a key on disk.
func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// parseRecord reads the record that stands under the given hash.
func parseRecord(data []byte, hash string) (*record, error) {
	var head struct {
		Version int `json:"version"`
	}
	rec := &record{}
	if err := json.Unmarshal(data, rec); err != nil {
		// A later version may have other types: its number counts.
		if json.Unmarshal(data, &head) == nil && head.Version > recordVersion {
			return nil, laterVersion(head.Version)
		}
		return nil, &broken{fault.Wrap(fault.Invalid, err)}
	}
	if rec.Version > recordVersion {
		return nil, laterVersion(rec.Version)
	}
	next := rec.Next
	rec.Next = nil
	if next != nil && hashOf(next.Key) == hash && next.Next == nil {
		next.Version, rec = rec.Version, next
	}
	if err := rec.check(hash); err != nil {
		return nil, &broken{fault.Wrap(fault.Invalid, err)}
	}
	return rec, nil
}

func laterVersion(v int) error {
	return refuse(fault.Unsupported, "version %d is later than this program's, %d", v, recordVersion)
}

func (r *record) check(hash string) error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("version %d", r.Version)
	case r.Key == "" || len(r.Key) > maxKey || hashOf(r.Key) != hash:
		return errors.New("the key is another one")
	case !isID(r.ID):
		return errors.New("no folder's id")
	case r.Kind != Active && r.Kind != View && r.Kind != Committed:
		return errors.New("no known kind")
	case r.Parent == r.Key || len(r.Parent) > maxKey:
		return errors.New("an impossible parent")
	case r.Size < 0 || r.Inodes < 0:
		return errors.New("a negative size")
	}
	return nil
}

func (r *record) encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(data) >= maxRecord {
		return nil, refuse(fault.Invalid, "record of snapshot %s: %d bytes, at most %d (too many labels?)", r.Key, len(data), maxRecord)
	}
	return append(data, '\n'), nil
}

// info is what others get to know of it.
func (r *record) info() Info {
	return Info{
		Kind:    r.Kind,
		Name:    r.Key,
		Parent:  r.Parent,
		Labels:  r.Labels,
		Created: r.Created,
		Updated: r.Updated,
		Limit:   r.Limit,
	}
}

// idAlphabet has no upper case and neither colon nor comma: an id stands in
// lowerdir=.
const idAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

// isID reports whether s can be a folder's id: 1 to 8 characters of the
// alphabet, so it is one harmless path element.
func isID(s string) bool {
	if s == "" || len(s) > 8 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// now is the time as it comes back from a record.
func now() time.Time { return time.Now().UTC().Round(0) }
