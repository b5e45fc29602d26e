package manifest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"berth/base/fault"
)

// Caps on what is read. A document beyond one is refused with Invalid.
const (
	MaxSize      = 4 << 20 // bytes of an index, manifest or config
	MaxLayers    = 1024    // layers of a manifest, diff ids of a config
	MaxManifests = 4096    // entries of an index
	MaxHistory   = 16384   // lines of history
	MaxDepth     = 64      // nesting of the JSON
	MaxNesting   = 4       // an index in an index: for who follows them
)

// openMaps are the keys whose objects have keys of the author's choice, so
// that two may differ in case alone.
func isOpenMap(key string) bool {
	switch key {
	case "annotations", "Labels", "ExposedPorts", "Volumes":
		return true
	}
	return false
}

// object is one JSON object under way in scan.
type object struct {
	isArray bool
	exact   bool            // keys that differ in case differ
	wantKey bool            // the next token is a key
	key     string          // the last key
	seen    map[string]bool // keys so far
}

// scan walks the JSON of a document before it is decoded: one value, an
// object, not nested too deep, and no key twice. encoding/json takes the last
// of several keys and does not look at case: others do not, and a document
// must not mean two things.
func scan(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var stack []*object
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			if len(stack) > 0 {
				return fault.New(fault.Invalid, "JSON ends too early")
			}
			return nil
		}
		if err != nil {
			return fault.New(fault.Invalid, "not JSON: %w", err)
		}
		if stack, err = step(stack, tok); err != nil {
			return err
		}
		if len(stack) == 0 && dec.InputOffset() < int64(len(raw)) &&
			len(bytes.TrimSpace(raw[dec.InputOffset():])) > 0 {
			return fault.New(fault.Invalid, "something follows the JSON object")
		}
	}
}

// step moves the walk over one token.
func step(stack []*object, tok json.Token) ([]*object, error) {
	var top *object
	if len(stack) > 0 {
		top = stack[len(stack)-1]
	}
	if key, ok := tok.(string); ok && top != nil && !top.isArray && top.wantKey {
		folded := key
		if !top.exact {
			folded = strings.ToLower(key)
		}
		if top.seen[folded] {
			return nil, fault.New(fault.Invalid, "key %.80q stands twice in one JSON object", key)
		}
		top.seen[folded], top.key, top.wantKey = true, key, false
		return stack, nil
	}
	delim, isDelim := tok.(json.Delim)
	if top == nil && delim != '{' {
		return nil, fault.New(fault.Invalid, "not a JSON object")
	}
	if top != nil && !top.isArray {
		top.wantKey = true // a value: the key's turn comes again
	}
	if !isDelim {
		return stack, nil
	}
	switch delim {
	case '}', ']':
		return stack[:len(stack)-1], nil
	}
	if len(stack) == MaxDepth {
		return nil, fault.New(fault.Invalid, "JSON is nested more than %d deep", MaxDepth)
	}
	o := &object{isArray: delim == '[', wantKey: true}
	if !o.isArray {
		o.seen = map[string]bool{}
		o.exact = top != nil && !top.isArray && isOpenMap(top.key)
	}
	return append(stack, o), nil
}
