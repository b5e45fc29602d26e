package archive

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer stores the tar of a layer that was made here, as it is: its digest is the
// layer's diff id.
func Layer(ctx context.Context, store Store, r io.Reader, opts LoadOptions) (v1.Descriptor, error) {
	d, err := newIngest(store, opts).root(ctx, r)
	if err != nil {
		return d, fmt.Errorf("store the layer: %w", err)
	}
	return d, nil
}
