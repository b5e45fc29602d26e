package gc

import (
	"bytes"
	"testing"
)

// FuzzDigestsIn: what is salvaged stands in the bytes.
func FuzzDigestsIn(f *testing.F) {
	f.Add([]byte(`x"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`))
	f.Add([]byte(`sha256:sha256:sha512:`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range digestsIn(b) {
			if !bytes.Contains(b, []byte(d)) || d.Validate() != nil {
				t.Fatalf("%q", d)
			}
		}
	})
}
