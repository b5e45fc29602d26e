// Package programs runs real programs from Debian in containers, as their users
// run them: a script for each, on a machine of its own whose Docker Hub is a
// registry of ours. Two are typed, chosen by BERTH_SEED, and all with
// BERTH_SWEEP=1. It runs as root and belongs to the tests, outside the rows.
package programs

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/debian"
	"berth/test/netns"
	"berth/test/typed"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

// sample is how many programs are run without BERTH_SWEEP=1.
const sample = 2

func TestPrograms(t *testing.T) {
	hub := debian.Open(t)
	hub.Programs(t)
	files := chosen(t)
	// The scripts run beside each other and end before the hub does.
	t.Run("run", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Files: files, Setup: hub.Setup, Cmds: typed.Words()})
	})
}

// chosen are the scripts of this run.
func chosen(t *testing.T) []string {
	all, err := filepath.Glob("*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	if os.Getenv("BERTH_SWEEP") != "" {
		return all
	}
	seed, err := strconv.ParseUint(os.Getenv("BERTH_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("BERTH_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(sample, len(all))]
}
