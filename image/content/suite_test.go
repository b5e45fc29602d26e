package content_test

import (
	"context"
	"path/filepath"
	"testing"

	"berth/image/content"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/testsuite"
)

// TestContainerdSuite is containerd's own suite of this interface, with both
// ways of being durable.
func TestContainerdSuite(t *testing.T) {
	for name, deferred := range map[string]bool{"synced": false, "deferred": true} {
		t.Run(name, func(t *testing.T) {
			testsuite.ContentSuite(t, name, func(ctx context.Context, root string) (context.Context, core.Store, func() error, error) {
				s, err := content.Open(content.Options{
					Dir: filepath.Join(root, "content"), Locks: filepath.Join(root, "locks"), Deferred: deferred,
					Bad: func(err error) { t.Error(err) },
				})
				if err != nil {
					return nil, nil, nil, err
				}
				return ctx, s, s.Close, nil
			})
		})
	}
}
