package snapshot_test

import (
	"testing"

	"berth/image/snapshot"
	"berth/image/snapshot/suite"
)

// TestContract is the contract of the seam.
func TestContract(t *testing.T) {
	suite.Run(t, func(t testing.TB, dir string) snapshot.Store {
		s, err := snapshot.Open(dir, snapshot.LaterSync(), snapshot.Report(func(err error) { t.Error(err) }))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
