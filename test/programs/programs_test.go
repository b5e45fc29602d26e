// Package programs runs real programs from Debian in containers, as their users
// run them: a script for each, on a machine of its own whose Docker Hub is a
// registry of ours. It runs as root and belongs to the tests, outside the rows.
package programs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/debian"
	"berth/test/netns"
	"berth/test/sample"
	"berth/test/typed"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

// few is how many programs are run when not all are asked for.
const few = 2

func TestPrograms(t *testing.T) { run(t, "", few) }

// TestProgramsAsUser runs them as a user with subordinate ids.
func TestProgramsAsUser(t *testing.T) { run(t, "berth-test-programs", 1) }

func run(t *testing.T, user string, few int) {
	hub := debian.Open(t)
	hub.Programs(t)
	m := hub.Machine(t, user)
	files := chosen(t, few)
	// The scripts run beside each other and end before the hub does.
	t.Run("run", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Files: files, Setup: m.Setup, Condition: m.Condition, Cmds: typed.Words()})
	})
}

// chosen are the scripts of this run.
func chosen(t *testing.T, few int) []string {
	all, err := filepath.Glob("*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	if sample.Whole() {
		return all
	}
	rng := sample.Random(t, 0)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:few]
}
