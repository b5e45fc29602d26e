package snapshot_test

import (
	"context"
	"os"
	"testing"

	"berth/image/snapshot"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
)

// TestContainerd is containerd's own suite. The name tells it that renaming a
// folder of a lower layer gives EXDEV, as redirect_dir is off.
func TestContainerd(t *testing.T) {
	needRoot(t)
	testsuite.SnapshotterSuite(t, "overlayfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		s, err := snapshot.Open(root, snapshot.LaterSync())
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	})
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
}
