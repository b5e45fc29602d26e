package names

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzParse: whatever is in a name's file, it is one image or an error, and
// the quick reader never disagrees with encoding/json.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"n","target":{"mediaType":"m","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1},"labels":{"a":"b","c":"d"},"created":"2026-01-02T03:04:05.678Z","updated":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"version":1,"name":"n","target":{"mediaType":"m","digest":"sha256:00","size":1},"created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"version":1,"name":"\u003c","target":{"mediaType":"m","digest":"d","size":01}}`))
	f.Add([]byte(`{"version":1,"name":"n","target":{"mediaType":"m","digest":"d","size":1},"labels":{},"created":"","updated":"0000-00-00T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := quick(b); ok {
			var want record
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatalf("quick took what encoding/json refuses: %v", err)
			}
			if !reflect.DeepEqual(r, want) {
				t.Fatalf("quick %+v, encoding/json %+v", r, want)
			}
		}
		file, _ := fileOf("n")
		img, err := parse(file, b)
		if err == nil && img.Name != "n" {
			t.Fatalf("another name: %+v", img)
		}
	})
}
