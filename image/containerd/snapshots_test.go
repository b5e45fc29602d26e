package containerd_test

import (
	"context"
	"os"
	"testing"

	"berth/image/containerd"
	"berth/image/snapshot"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
)

// TestSnapshots is containerd's own suite. The name tells it that renaming a
// folder of a lower layer gives EXDEV, as redirect_dir is off.
func TestSnapshots(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	testsuite.SnapshotterSuite(t, "overlayfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		o, err := snapshot.Open(root, snapshot.LaterSync())
		if err != nil {
			return nil, nil, err
		}
		s := containerd.Snapshots{Store: o}
		return s, s.Close, nil
	})
}
