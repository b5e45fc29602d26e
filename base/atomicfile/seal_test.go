package atomicfile_test

import (
	"testing"

	"berth/base/atomicfile"
)

// What was sealed comes back; what is torn, longer, changed or of another form
// does not.
func TestSeal(t *testing.T) {
	const form = "form 1\n"
	sealed := atomicfile.Seal([]byte(form + "what is in it"))
	if body, ok := atomicfile.Unseal(form, sealed); !ok || string(body) != "what is in it" {
		t.Errorf("%q, %v", body, ok)
	}
	for n := range sealed {
		if _, ok := atomicfile.Unseal(form, sealed[:n]); ok {
			t.Errorf("%d of %d bytes are whole", n, len(sealed))
		}
		changed := append([]byte{}, sealed...)
		changed[n] ^= 1
		if _, ok := atomicfile.Unseal(form, changed); ok {
			t.Errorf("byte %d can be changed", n)
		}
	}
	if _, ok := atomicfile.Unseal("form 2\n", sealed); ok {
		t.Error("another form fits")
	}
	if _, ok := atomicfile.Unseal(form, append(sealed, 0)); ok {
		t.Error("a byte more fits")
	}
}
