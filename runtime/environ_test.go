package runtime

import (
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", "HOME=", "B=2", "A=3", "C=", "B=4=5"})
	if want := []string{"A=3", "B=4=5", "C="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
