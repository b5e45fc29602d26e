package snapshot

import (
	"errors"
	"strings"
	"testing"

	"berth/base/fault"

	"github.com/containerd/errdefs"
)

// TestRecord holds which records count under which name.
func TestRecord(t *testing.T) {
	const k, n = "key", "name"
	next := `,"next":{"key":"name","id":"abc","kind":"committed","parent":"p","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"`
	good := `{"version":1,"key":"key","id":"abc","kind":"active","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"`
	cases := []struct {
		what, data, under string
		kind              Kind
		err               fault.Kind
	}{
		{"an active one", good + "}", k, Active, 0},
		{"under another name", good + "}", n, "", fault.Invalid},
		{"before its commit", good + next + "}}", k, Active, 0},
		{"after its commit", good + next + "}}", n, Committed, 0},
		{"two commits in one", good + next + next + "}}}", n, "", fault.Invalid},
		{"nothing", "", k, "", fault.Invalid},
		{"zeros", "\x00\x00\x00\x00", k, "", fault.Invalid},
		{"torn", good, k, "", fault.Invalid},
		{"more behind it", good + "}{}", k, "", fault.Invalid},
		{"version 0", strings.Replace(good, `n":1`, `n":0`, 1) + "}", k, "", fault.Invalid},
		{"version 2", strings.Replace(good, `n":1`, `n":2`, 1) + "}", k, "", fault.Unsupported},
		{"version 2 of another form", `{"version":2,"key":["a"]}`, k, "", fault.Unsupported},
		{"an id that climbs", strings.Replace(good, "abc", "../x", 1) + "}", k, "", fault.Invalid},
		{"an id with a colon", strings.Replace(good, "abc", "a:b", 1) + "}", k, "", fault.Invalid},
		{"no id", strings.Replace(good, "abc", "", 1) + "}", k, "", fault.Invalid},
		{"a long id", strings.Replace(good, "abc", "abcdefghi", 1) + "}", k, "", fault.Invalid},
		{"no kind", strings.Replace(good, "active", "", 1) + "}", k, "", fault.Invalid},
		{"its own parent", good + `,"parent":"key"}`, k, "", fault.Invalid},
		{"a negative size", good + `,"size":-1}`, k, "", fault.Invalid},
	}
	for _, c := range cases {
		rec, err := parseRecord([]byte(c.data), hashOf(c.under))
		if c.err == 0 {
			if err != nil || rec.Kind != c.kind || rec.Key != c.under || rec.Next != nil {
				t.Errorf("%s: %+v, %v", c.what, rec, err)
			}
			continue
		}
		_, free := replaceable(err)
		if !fault.Is(err, c.err) || free != (c.err == fault.Invalid) {
			t.Errorf("%s: %v (kind %v, replaceable %v), want kind %v", c.what, err, fault.KindOf(err), free, c.err)
		}
	}
}

// TestErrorKinds holds that both houses know an error.
func TestErrorKinds(t *testing.T) {
	for kind, class := range map[fault.Kind]error{
		fault.NotFound: errdefs.ErrNotFound, fault.Exists: errdefs.ErrAlreadyExists, fault.Invalid: errdefs.ErrInvalidArgument,
		fault.Conflict: errdefs.ErrFailedPrecondition, fault.Unsupported: errdefs.ErrNotImplemented,
	} {
		err := refuse(kind, "it is so")
		if !fault.Is(err, kind) || !errors.Is(err, class) || err.Error() != "it is so" {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"key":"key","id":"abc","kind":"active","labels":{"a":"b"},"created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"version":1,"key":"k","id":"abc","kind":"active","next":{"key":"key","id":"abc","kind":"committed","next":{}}}`))
	f.Add([]byte(`{"version":2}`))
	hash := hashOf("key")
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := parseRecord(data, hash)
		if err != nil {
			if rec != nil {
				t.Fatal("a record and an error")
			}
			return
		}
		if rec.Key != "key" || !isID(rec.ID) || rec.Next != nil || rec.Version != recordVersion {
			t.Fatalf("%+v", rec)
		}
		again, err := rec.encode()
		if err != nil {
			return // a year beyond 9999
		}
		if _, err := parseRecord(again, hash); err != nil {
			t.Fatalf("does not read what it wrote: %v", err)
		}
	})
}
