// Package container runs the txtar scripts of this folder: the verbs on
// containers as a person types them, with what must be seen. They run as root,
// in a network namespace that no other test shares, as a user with subordinate
// ids and as one without; each script has a store and a run folder of its own and
// the built-in image, and ends when nothing of it is left.
//
// A script has berth and docker (a link to it) on its PATH, $PROGRAM, which is berth's file, $OWNER, who calls
// them ("UID:GID"), the words of package typed and nameserver, and the conditions [root], [ids]
// (root, and whoever has subordinate ids) and [cgroups] (limits, pause and stats
// work). It belongs to the tests, outside the rows.
package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/account"
	"berth/test/netns"
	"berth/test/sample"
	"berth/test/typed"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

// alone types the scripts as a user with one id.
var alone = account.Alone(64874)

func TestScripts(t *testing.T) {
	who, err := account.Own()
	if err != nil {
		t.Fatal(err)
	}
	if who.UID == 0 {
		netns.Need(t)
	}
	play(t, who)
}

func TestScriptsAsUser(t *testing.T) {
	netns.Need(t) // and root, to become another user
	play(t, alone)
}

// TestScriptsWithIDs plays them as a user with subordinate ids.
func TestScriptsWithIDs(t *testing.T) {
	netns.Need(t)
	who := account.Temporary(t, "berth-test-container")
	play(t, who)
}

func play(t *testing.T, who account.Account) {
	berth := program(t)
	if who.Switched() {
		var err error
		if berth, err = account.Copy(berth, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	// The scripts run beside each other and end before the user does.
	t.Run("play", func(t *testing.T) { scripts(t, who, berth) })
}

func program(t *testing.T) string {
	berth, err := filepath.Abs("../../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	if p := os.Getenv("BERTH"); p != "" {
		berth = p
	}
	if _, err := os.Stat(berth); err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	return berth
}

func scripts(t *testing.T, who account.Account, berth string) {
	testscript.Run(t, testscript.Params{
		Files: files(t, who),
		Setup: func(e *testscript.Env) error { return setup(e, berth, who) },
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return who.UID == 0, nil
			case "ids":
				return who.UID == 0 || who.Count > 0, nil
			case "cgroups":
				return who.UID == 0 || hasCgroups(who), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: words(),
	})
}

// always are scripts of which a user without subordinate ids plays all, and of the others a
// seeded half: with ids all are played, and both in a sweep.
var always = []string{"run.txtar", "user.txtar", "userids.txtar", "userports.txtar", "wayout.txtar", "security.txtar"}

func files(t *testing.T, who account.Account) (list []string) {
	all, err := filepath.Glob("*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal("no scripts: ", err)
	}
	if who.UID == 0 || who.Count > 0 || sample.Whole() {
		return all
	}
	random := sample.Random(t, 8)
	for _, name := range all {
		if random.IntN(2) == 0 || slices.Contains(always, name) {
			list = append(list, name)
		}
	}
	return list
}

// hasCgroups reports whether a user's systemd makes cgroups: not for one that the
// test becomes, who has not logged in.
func hasCgroups(who account.Account) bool {
	_, v2 := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	_, manager := os.Stat(fmt.Sprintf("/run/user/%d/systemd/private", who.UID))
	return !who.Switched() && v2 == nil && manager == nil
}

func setup(e *testscript.Env, berth string, who account.Account) error {
	bin := filepath.Join(e.WorkDir, ".bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"berth", "docker"} {
		if err := who.Link(berth, bin, name); err != nil {
			return err
		}
	}
	run, err := os.MkdirTemp(runFolders(), "bt")
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"PATH": bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": e.WorkDir, "PROGRAM": berth, "OWNER": fmt.Sprintf("%d:%d", who.UID, who.GID), "OWNERUID": strconv.Itoa(int(who.UID)),
		"BERTH_ROOT": filepath.Join(e.WorkDir, ".root"), "BERTH_RUN": run, "BERTH_ETC": filepath.Join(e.WorkDir, ".etc"),
	} {
		e.Setenv(k, v)
	}
	vars := e.Vars
	e.Defer(func() {
		typed.Clean(e, filepath.Join(bin, "berth"), vars)
		_ = os.RemoveAll(run)
	})
	if !who.Switched() {
		return nil
	}
	if err := account.Open(e.WorkDir); err != nil {
		return err
	}
	return errors.Join(who.Give(e.WorkDir), os.Chown(run, int(who.UID), int(who.GID)))
}

// runFolders is where run folders are made: as short as it goes, which shows more
// of what berth does about long ones where it is not.
func runFolders() string {
	if os.Getuid() == 0 {
		return "/run"
	}
	return os.TempDir()
}
