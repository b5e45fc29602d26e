// Package walk types the walkthroughs for application containers on real Debian
// and busybox images: a new machine each, whose Docker Hub is a registry of ours.
// A script names the lines that it has; what a person sees of them is what it
// looks at. Root types them, and an ordinary user; the test runs as root and belongs to the tests, outside the rows.
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

func TestWalkthroughs(t *testing.T) { play(t, "") }

// TestWalkthroughsAsUser types them as a user with subordinate ids.
func TestWalkthroughsAsUser(t *testing.T) { play(t, "berth-test-walk") }

func play(t *testing.T, user string) {
	hub := debian.Open(t)
	m := hub.Machine(t, user)
	// The scripts run beside each other and end before the hub does.
	t.Run("line", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Dir: ".", Setup: m.Setup, Condition: m.Condition, Cmds: typed.Words()})
	})
}
