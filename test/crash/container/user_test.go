package container

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/berth"
	"berth/test/netns"
	"berth/test/sample"
)

// users are ordinary ones with ranges, one for each worker: whatever has an id of
// the user's is of the worker's place.
var users []account.Account

// TestDisturbedUser does the same with the verbs of an ordinary user: the processes
// outside and inside of the user's namespace, the holder and the programs that give it
// its ids are among those that are killed and whose calls fail. After each point no
// process has an id of the user's, and no file is there that was not before.
func TestDisturbedUser(t *testing.T) {
	disturbUsers(t, scene{stream: 8, who: "as a user, ", verbs: userVerbs()}, users)
}

// TestDisturbedAlone does it as users with one id alone, in a sweep.
func TestDisturbedAlone(t *testing.T) {
	if !sample.Whole() {
		return // with ids most of it is the same
	}
	var alone []account.Account
	for k := range userWorkers {
		alone = append(alone, account.Alone(uint32(64876+k)))
	}
	disturbUsers(t, scene{stream: 9, who: "as a user with one id, ", verbs: slices.DeleteFunc(userVerbs(), func(v verb) bool {
		return strings.HasSuffix(v.name, "-auto")
	})}, alone)
}

func disturbUsers(t *testing.T, s scene, users []account.Account) {
	t.Helper()
	netns.Need(t)
	dir, err := os.MkdirTemp("", "crash-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	located, err := berth.Locate()
	if err != nil {
		t.Fatal(err)
	}
	program, err := account.Copy(located, dir)
	if err != nil {
		t.Fatal(err)
	}
	s.pick, s.workers = sample.Third[verb], len(users)
	s.place = func(worker int, dir string) (*place, error) { return newUserPlace(users[worker], program, dir) }
	s.play(t)
}

// userVerbs are root's, without a network those that are not about networks, and what
// only a user has: a command that makes the namespace and ends it, a run that makes the
// network and its way out, and one that finds the holder killed.
func userVerbs() []verb {
	all := verbs()
	for i, v := range all {
		if !v.ofNetwork() {
			v.words, v.prepare = withoutNetwork(v.words), withoutNetwork(v.prepare)
		}
		all[i] = v
	}
	start := []string{"run", "-d", "--name", "one", "--network", "none", "berth/base", "sleep", "100000"}
	return append(all,
		verb{name: "run-net", words: []string{"run", "-d", "--name", "one", "-p", "18096:80", "berth/base", "sleep", "100000"}, again: []string{here}, done: runs},
		verb{name: "create-auto", words: []string{"create", "--name", "one", "--network", "none", "--userns", "auto", "-v", "/data", "berth/base", "sleep", "100000"}, again: []string{here}},
		verb{name: "rm-auto", words: []string{"rm", "one"}, prepare: []string{"create", "--name", "one", "--network", "none", "--userns", "auto", "berth/base", "true"}, again: []string{gone}},
		verb{name: "ps", words: []string{"ps", "-a"}},
		verb{name: "exec-lost", words: []string{"exec", "one", "echo", "hello"}, prepare: start, then: (*place).killHolder, again: []string{dead}},
		verb{name: "rm-f-lost", words: []string{"rm", "-f", "-v", "one"}, prepare: start, then: (*place).killHolder, again: []string{gone}, done: removed},
	)
}

// withoutNetwork gives a create or run no network and no ports.
func withoutNetwork(words []string) []string {
	if len(words) == 0 || words[0] != "create" && words[0] != "run" {
		return words
	}
	words = slices.Clone(words)
	if i := slices.Index(words, "-p"); i > 0 {
		words = slices.Delete(words, i, i+2)
	}
	if !slices.Contains(words, "--network") {
		words = slices.Insert(words, 1, "--network", "none")
	}
	return words
}

// killHolder kills the process that keeps the user's namespace.
func (p *place) killHolder() error { return account.KillHolder(p.Run + "/holder") }

// newUserPlace is a place of a user's.
func newUserPlace(a account.Account, program, dir string) (*place, error) {
	b, err := berth.MakeAs(a, program, dir)
	if err != nil {
		return nil, err
	}
	p := &place{Berth: b, user: &a}
	warm := []string{"run", "--rm", "--network", "none", "--userns", "auto", "berth/base", "true"}
	if a.Count == 0 { // who has no parts to give
		warm = []string{"ps"}
	}
	return p, p.start([]string{"run", "--rm", "-p", "18096:80", "berth/base", "true"}, []string{"network", "create", "net"},
		[]string{"run", "--rm", "--network", "net", "berth/base", "true"}, []string{"network", "rm", "net"},
		warm)
}

// unheld waits for the end of the holder, which stays a little after the last command.
func (p *place) unheld() {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Lstat(p.Run + "/holder"); err != nil && len(p.user.Processes()) == 0 {
			return
		}
	}
}

// surplus are the files and cgroups that were not there before. How a container ended
// is kept for some minutes, what it had in the firewall until it is worth a sweep.
func (p *place) surplus() (all []string) {
	for path := range p.owned() {
		if !p.files[path] && filepath.Dir(path) != p.Run+"/exits" && filepath.Dir(path) != p.Run+"/network/gone" {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all
}

// owned are the files and cgroups of the user's, and everything in the place.
func (p *place) owned() map[string]bool {
	all := map[string]bool{}
	for _, top := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/sys/fs/cgroup"} {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // others come and go
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && p.user.Owns(st.Uid) || strings.HasPrefix(path, p.Dir+"/") {
				all[path] = true
			}
			return nil
		})
	}
	return all
}
