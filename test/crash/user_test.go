package crash

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/sample"
)

// users are ordinary ones with ranges, one for each worker: whatever has an id of
// the user's is of the worker's store.
var users []account.Account

// TestDisturbedUser does the same with the verbs of an ordinary user: the processes
// outside and inside of the user's namespace, the holder and the programs that give it
// its ids are among those that are killed and whose calls fail. After each point no
// process has an id of the user's.
func TestDisturbedUser(t *testing.T) {
	needRoot(t)
	c := scene{stream: 4, who: "as a user, ", verbs: userVerbs(), dose: dose{6, 2}, limit: 50 * time.Second}
	for i := range users {
		c.owners = append(c.owners, &users[i])
	}
	if !sample.Whole() { // a third of the verbs
		c.verbs = sample.Third(sample.Random(t, 5), c.verbs)
	}
	c.play(t)
}

// userVerbs are root's, and what only a user has: a command that makes the namespace and
// ends it, and one that finds the holder killed.
func userVerbs() []verb {
	all := verbs()
	for _, v := range all {
		if v.name == "tag" {
			prepare := v.prepare
			v.name = "tag-lost"
			v.prepare = func(s store, h *hub) error { return errors.Join(prepare(s, h), s.killHolder()) }
			all = append(all, v)
		}
	}
	return append(all, verb{name: "images", before: none, after: none, words: func(store, *hub) []string { return []string{"images"} }})
}

// killHolder kills the process that keeps the user's namespace.
func (s store) killHolder() error {
	return account.KillHolder(filepath.Join(s.dir, "home/berth/holder"))
}

// alone waits for the end of the user's processes: the holder stays a little after the last
// command.
func (s store) alone() error {
	if s.user == nil {
		return nil
	}
	return s.user.Ended(10 * time.Second)
}

// exported is an image's tree as a container has it: users mount no images.
func (s store) exported(name string) (text string, err error) {
	r := s.do("create", "--network", "none", name, "/none")
	if r.code != 0 || r.errors != "" {
		return "", errors.New(r.String())
	}
	id := strings.TrimSpace(r.out)
	defer func() { err = errors.Join(err, s.must("rm", id)) }()
	if r = s.do("export", id); r.code != 0 || r.errors != "" {
		return "", fmt.Errorf("export: exit %d: %s", r.code, r.errors)
	}
	var lines strings.Builder
	in := tar.NewReader(strings.NewReader(r.out))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return lines.String(), nil
		}
		if err == nil {
			err = describeMember(&lines, h, in)
		}
		if err != nil {
			return "", err
		}
	}
}

// describeMember writes the line of a file in an archive.
func describeMember(w io.Writer, h *tar.Header, data io.Reader) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, data); err != nil {
		return err
	}
	stamp := h.ModTime.UnixNano()
	if h.Typeflag == tar.TypeDir {
		stamp = 0 // see describe
	}
	_, err := fmt.Fprintf(w, "%s %c %o %d:%d %d %d %d,%d -> %s %x %q\n", h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, stamp,
		h.Devmajor, h.Devminor, h.Linkname, sum.Sum(nil), h.PAXRecords["SCHILY.xattr.user.mark"])
	return err
}
