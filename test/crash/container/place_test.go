package container

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/test/account"
	"berth/test/berth"
	"berth/test/netns"
)

// place is a store that is used again and again: what a disturbed verb leaves in
// it would be seen.
type place struct {
	*berth.Berth
	nets  []string // files of networks that are up then
	links []string // of the network that it is in, when nothing runs
	store []string // what is in the store of images then
	mount string   // of the test itself, in the place
	// user is the ordinary user whose it is, nil for root; files are the user's then.
	user  *account.Account
	files map[string]bool
}

func newPlace(dir string) (*place, error) {
	b, err := berth.Make(dir)
	if err != nil {
		return nil, err
	}
	p := &place{Berth: b}
	return p, p.start([]string{"run", "--rm", "berth/base", "true"})
}

// start runs commands once, so that the image, the bridge and the folders are there, and
// notes what there is then.
func (p *place) start(all ...[]string) error {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("lo: %w: %s", err, out)
	}
	for _, words := range all {
		if err := p.Do(words...).Err(); err != nil {
			return errors.Join(err, p.Remove())
		}
	}
	p.nets, _ = filepath.Glob(p.Run + "/network/nets/*")
	var err error
	if p.links, err = netns.LinksWithout("ve"); err != nil {
		return err
	}
	if p.store, err = p.stored(); err != nil || p.user == nil {
		return err
	}
	err = p.empty()
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); err = p.empty() {
		time.Sleep(20 * time.Millisecond)
	}
	p.files = p.owned()
	return err
}

// stored are the images, their layers and the writable trees, by their files.
func (p *place) stored() (all []string, err error) {
	for _, dir := range []string{"content", "leases", "names", "snapshots/by-key", "snapshots/children", "snapshots/unsynced", "snapshots/stage"} {
		dir = filepath.Join(p.Root(), dir)
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all = append(all, path)
			}
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	trees, err := filepath.Glob(p.Root() + "/snapshots/d/*")
	return append(all, trees...), err
}

func (p *place) remove() error {
	_, err := p.Empty()
	if p.user != nil {
		p.user.KillAll() // the next place has the same user
	}
	return errors.Join(err, p.Remove())
}

// clean looks for everything that a place without containers may not have. A list
// takes away what killed commands left, and what follows an exit is done by others,
// so it is done again for some time.
func (p *place) clean() error {
	err := p.empty()
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); err = p.empty() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	// A file that was being written nobody can know from one that is: it goes with
	// check, a minute later.
	if err := p.age(); err != nil {
		return err
	}
	words := [][]string{{"check", "--repair", "-q"}}
	if stored, err := p.stored(); err != nil || !slices.Equal(stored, p.store) {
		words = append(words, []string{"image", "prune", "-f"})
	}
	for _, words := range words {
		if r := p.Do(words...); r.Code != 0 || r.Errors != "" {
			return fmt.Errorf("%s", r)
		}
	}
	staged, err := p.staged()
	if err == nil && len(staged) > 0 {
		err = fmt.Errorf("left behind: %q", staged)
	}
	if p.user != nil {
		p.unheld()
		if left := p.surplus(); len(left) > 0 {
			err = errors.Join(err, fmt.Errorf("left of the user's: %.1500q", left))
		}
	}
	// Of ends of containers some is left for later, but nothing that leads anywhere.
	rules, failed := p.rules()
	if failed != nil || strings.Contains(rules, "br-") || strings.Contains(rules, " 1809") {
		err = errors.Join(err, failed, fmt.Errorf("left in the firewall:\n%s", rules))
	}
	if stored, failed := p.stored(); failed != nil || !slices.Equal(stored, p.store) {
		err = errors.Join(err, failed, fmt.Errorf("left in the store: %q", slices.DeleteFunc(stored, func(path string) bool { return slices.Contains(p.store, path) })))
	}
	if r := p.Do("check"); r.Code != 0 || r.Errors != "" || r.Out != "The store is whole.\n" {
		err = errors.Join(err, fmt.Errorf("%s", r))
	}
	return err
}

// rules is the store's own table: that of another one, which was not clean, may be there, too.
func (p *place) rules() (string, error) {
	if p.user != nil {
		return netns.Run("nft", "list", "ruleset") // a user makes none here
	}
	sum := sha256.Sum256([]byte(p.Run))
	return netns.Run("nft", "list", "table", "inet", "berth-"+hex.EncodeToString(sum[:4]))
}

// staged are the files that were being written.
func (p *place) staged() (all []string, err error) {
	for _, dir := range []string{p.Run, p.Root() + "/containers", p.Root() + "/volumes", p.Root() + "/networks"} {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasPrefix(d.Name(), ".stage-") || strings.HasPrefix(d.Name(), ".new-")) {
				all = append(all, path)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// age makes them, and what the store has too much, a month old: ends of downloads
// and blobs are kept for who goes on with them.
func (p *place) age() error {
	all, err := p.staged()
	stored, failed := p.stored()
	for _, path := range stored {
		if !slices.Contains(p.store, path) && (strings.HasPrefix(path, p.Root()+"/content/") || strings.HasPrefix(filepath.Base(path), ".stage-")) {
			all = append(all, path)
			if strings.Contains(path, "/ingest/") {
				all = append(all, filepath.Dir(path))
			}
		}
	}
	err = errors.Join(err, failed)
	for _, path := range all {
		then := time.Now().Add(-30 * 24 * time.Hour)
		if failed := os.Chtimes(path, then, then); failed != nil && !os.IsNotExist(failed) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// empty asks the lists, and gives what goes by itself after them a second, a user's holder
// some more.
func (p *place) empty() error {
	for _, words := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}} {
		if r := p.Do(words...); r.Code != 0 || r.Out != "" || r.Errors != "" {
			return fmt.Errorf("%s", r)
		}
	}
	err := p.look()
	patience := time.Second
	if p.user != nil {
		patience = 4 * time.Second
	}
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = p.look() {
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// look finds what is there of containers.
func (p *place) look() error {
	var left []string
	for _, pattern := range []string{
		"root/containers/d/*", "root/containers/names/*", "root/volumes/*", "root/snapshots/trash/*", "run/containers/[0-9a-f]*", "run/containers/.stage-*", "run/oci/*", "run/ids/[0-9a-f]*",
		"run/mounts/*", "run/network/endpoints/*", "run/network/ports/*", "run/network/addresses/owners/*", "run/network/addresses/*/*.*",
		"run/locks/containers/[0-9a-f]*", "run/locks/volumes/*", "root/networks/*", "run/network/nets/*",
	} {
		where, rest, _ := strings.Cut(pattern, "/")
		found, _ := filepath.Glob(map[string]string{"root": p.Root(), "run": p.Run}[where] + "/" + rest)
		left = append(left, found...)
	}
	left = slices.DeleteFunc(left, func(path string) bool { // see clean
		st, err := os.Lstat(path)
		return slices.Contains(p.nets, path) || err == nil && st.Mode().IsRegular() && (strings.HasPrefix(filepath.Base(path), ".stage-") || strings.HasPrefix(filepath.Base(path), ".new-"))
	})
	left = append(left, p.Cgroups()...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if p.mount != "" && strings.Contains(line, " "+p.mount+" ") {
			continue
		}
		if strings.Contains(line, " "+p.Dir+"/") || strings.Contains(line, " "+p.Run+"/") {
			left = append(left, line)
		}
	}
	now, err := netns.Links()
	if err == nil && !slices.Equal(now, p.links) {
		err = fmt.Errorf("links are %q, were %q", now, p.links)
	}
	if err == nil && len(left) == 0 {
		left = p.processes() // which asks all there are on the machine
	}
	if err == nil && len(left) == 0 && p.user != nil {
		left = p.user.Processes()
	}
	if len(left) > 0 {
		err = errors.Join(fmt.Errorf("left behind: %.1500q", left), err)
	}
	return err
}

// processes are those that have something of the place open, monitors above all.
func (p *place) processes() []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range all {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, p.Run+"/") && !strings.HasPrefix(to, p.Dir+"/") {
			continue
		}
		words := strings.Split(fd, "/")
		cmdline, _ := os.ReadFile("/proc/" + words[2] + "/cmdline")
		if strings.HasPrefix(words[2], fmt.Sprint(os.Getpid())) || len(cmdline) == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("process %s %q has %s", words[2], cmdline, to))
	}
	return out
}
