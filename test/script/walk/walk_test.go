// Package walk types the walkthroughs for application containers on real Debian
// and busybox images: a new machine each, whose Docker Hub is a registry of ours.
// A script names the lines that it has; what a person sees of them is what it
// looks at. It runs as root and belongs to the tests, outside the rows.
package walk

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/debian"
	"berth/test/netns"
	"berth/test/typed"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func TestWalkthroughs(t *testing.T) {
	hub := debian.Open(t)
	// The scripts run beside each other and end before the hub does.
	t.Run("line", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Dir: ".", Setup: hub.Setup, Cmds: typed.Words()})
	})
}
