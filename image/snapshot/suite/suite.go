// Package suite is the contract of snapshot.Store as tests, run by every
// implementation. It knows stores only by the interface, and mounts nothing
// into the caller's namespace. What containerd's own suite holds is not
// repeated. It belongs to the tests of row 3.
package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/image/snapshot"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Open opens the store at a folder, with sync left to the caller. Two of one
// folder are as good as two processes.
type Open func(t testing.TB, dir string) snapshot.Store

// Run runs all cases. Those that mount need root or a user namespace.
func Run(t *testing.T, open Open) {
	cases := []struct {
		name   string
		mounts bool
		run    func(*bench)
	}{
		{"Lineage", false, lineage},
		{"Refusals", false, refusals},
		{"Rebase", false, rebase},
		{"OneWins", false, oneWins},
		{"ManyPrepares", false, manyPrepares},
		{"ParentOrChild", false, parentOrChild},
		{"RecordedUsage", false, recordedUsage},
		{"TidyLeavesAll", false, tidyLeavesAll},
		{"ReadThrough", true, readThrough},
		{"Whiteouts", true, whiteouts},
		{"Faithful", true, faithful},
		{"RootFolder", true, rootFolder},
		{"ManyLayers", true, manyLayers},
		{"WriteAndCommit", true, writeAndCommit},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.mounts && os.Geteuid() != 0 {
				t.Skip("needs root: mounts")
			}
			dir := t.TempDir()
			c.run(&bench{T: t, Store: open(t, dir), other: open(t, dir), ctx: t.Context()})
		})
	}
}

// bench is a store, seen from two processes, and a test.
type bench struct {
	*testing.T
	snapshot.Store
	other snapshot.Store
	ctx   context.Context
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) is(what string, err error, class error) {
	b.Helper()
	if !errors.Is(err, class) {
		b.Fatalf("%s: got error %v, want one of class %v", what, err, class)
	}
	if strings.Contains(err.Error(), "\n") {
		b.Fatalf("%s: the error has several lines: %v", what, err)
	}
}

// layer makes a committed layer; fill gets the path of its folder.
func (b *bench) layer(name, parent string, fill func(dir string)) {
	b.Helper()
	f, err := b.PrepareLayer(b.ctx, "new "+name)
	b.ok(err)
	defer f.Close()
	if fill != nil {
		fill(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	b.ok(b.CommitLayer(b.ctx, snapshot.Layer{Name: name, Parent: parent, Key: "new " + name}))
}

// write makes a file and the folders above it.
func (b *bench) write(dir, name, content string) {
	b.Helper()
	path := filepath.Join(dir, name)
	b.ok(os.MkdirAll(filepath.Dir(path), 0o755))
	b.ok(os.WriteFile(path, []byte(content), 0o644))
}

// look mounts what a snapshot consists of and hands out a path of it.
func (b *bench) look(mounts []snapshot.Mount, err error, f func(dir string)) {
	b.Helper()
	b.ok(err)
	fd, err := snapshot.MountTree(b.ctx, mounts)
	b.ok(err)
	defer unix.Close(fd)
	f(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// tree lists a folder: "name=content" for files, "name/" for folders.
func (b *bench) tree(dir string) []string {
	b.Helper()
	var list []string
	err := filepath.WalkDir(dir+"/.", func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir+"/")
		switch {
		case err != nil || name == "." || name == dir:
		case d.IsDir():
			list = append(list, name+"/")
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			list = append(list, name+"="+string(data))
		}
		return err
	})
	b.ok(err)
	slices.Sort(list)
	return list
}

func (b *bench) sees(dir string, want ...string) {
	b.Helper()
	want = slices.Sorted(slices.Values(want))
	if got := b.tree(dir); !slices.Equal(got, want) {
		b.Fatalf("the mount has %q, want %q", got, want)
	}
}

func lineage(b *bench) {
	b.layer("one", "", nil)
	b.layer("two", "one", nil)
	_, err := b.Prepare(b.ctx, "box", "two", snapshot.WithLabels(map[string]string{"a": "b"}))
	b.ok(err)
	info, err := b.other.Stat(b.ctx, "box")
	b.ok(err)
	if info.Kind != snapshot.Active || info.Parent != "two" || info.Labels["a"] != "b" {
		b.Fatalf("box is %+v", info)
	}
	info, err = b.other.Stat(b.ctx, "two")
	b.ok(err)
	if info.Kind != snapshot.Committed || info.Parent != "one" || info.Created.IsZero() {
		b.Fatalf("two is %+v", info)
	}
	for _, key := range []string{"one", "two"} {
		b.is("remove "+key, b.other.Remove(b.ctx, key), errdefs.ErrFailedPrecondition)
	}
	b.ok(b.Commit(b.ctx, "three", "box"))
	for _, key := range []string{"one", "two"} {
		b.is("remove "+key, b.other.Remove(b.ctx, key), errdefs.ErrFailedPrecondition)
	}
	for _, key := range []string{"three", "two", "one"} {
		b.ok(b.other.Remove(b.ctx, key))
		_, err := b.Stat(b.ctx, key)
		b.is("stat of the removed "+key, err, errdefs.ErrNotFound)
	}
}

func refusals(b *bench) {
	_, err := b.Prepare(b.ctx, "a", "nothing")
	b.is("prepare without the parent", err, errdefs.ErrNotFound)
	_, err = b.Prepare(b.ctx, "", "")
	b.is("prepare without a key", err, errdefs.ErrInvalidArgument)
	_, err = b.Prepare(b.ctx, "a", "")
	b.ok(err)
	_, err = b.PrepareLayer(b.ctx, "a")
	b.is("prepare it again", err, errdefs.ErrAlreadyExists)
	_, err = b.View(b.ctx, "v", "a")
	b.is("view of an active one", err, errdefs.ErrInvalidArgument)
	b.is("commit onto itself", b.Commit(b.ctx, "a", "a"), errdefs.ErrAlreadyExists)
	b.ok(b.Commit(b.ctx, "c", "a"))
	_, err = b.Mounts(b.ctx, "c")
	b.is("mounts of a committed one", err, errdefs.ErrFailedPrecondition)
	_, err = b.View(b.ctx, "v", "c")
	b.ok(err)
	b.is("commit a view", b.Commit(b.ctx, "d", "v"), errdefs.ErrFailedPrecondition)
	b.is("commit a committed one", b.Commit(b.ctx, "d", "c"), errdefs.ErrFailedPrecondition)
	b.is("commit nothing", b.Commit(b.ctx, "d", "gone"), errdefs.ErrNotFound)
	b.is("remove nothing", b.Remove(b.ctx, "gone"), errdefs.ErrNotFound)
	b.is("sync nothing", b.Sync(b.ctx, "gone"), errdefs.ErrNotFound)
	_, err = b.Update(b.ctx, snapshot.Info{Name: "c"}, "kind")
	b.is("change a kind", err, errdefs.ErrInvalidArgument)
	err = b.CommitLayer(b.ctx, snapshot.Layer{Name: "d", Key: "v", Usage: snapshot.Usage{Size: -1}})
	b.is("a negative size", err, errdefs.ErrInvalidArgument)
}

// rebase fills three layers at once and gives them their parents afterwards.
func rebase(b *bench) {
	keys := []string{"k0", "k1", "k2"}
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			f, err := b.PrepareLayer(b.ctx, key)
			if err != nil {
				b.Error(err)
				return
			}
			defer f.Close()
			b.write(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "of-"+key, key)
		})
	}
	wg.Wait()
	err := b.CommitLayer(b.ctx, snapshot.Layer{Name: "c1", Parent: "c0", Key: "k1"})
	b.is("commit before the parent", err, errdefs.ErrNotFound)
	parent := ""
	for i, key := range keys {
		name := fmt.Sprintf("c%d", i)
		b.ok(b.CommitLayer(b.ctx, snapshot.Layer{Name: name, Parent: parent, Key: key, Labels: map[string]string{"n": name}}))
		parent = name
	}
	info, err := b.other.Stat(b.ctx, "c2")
	b.ok(err)
	if info.Parent != "c1" || info.Labels["n"] != "c2" {
		b.Fatalf("c2 is %+v", info)
	}
	_, err = b.Stat(b.ctx, "k2")
	b.is("stat of the key", err, errdefs.ErrNotFound)

	_, err = b.Prepare(b.ctx, "box", "c2")
	b.ok(err)
	err = b.Commit(b.ctx, "elsewhere", "box", snapshot.WithParent("c0"))
	b.is("another parent at the commit", err, errdefs.ErrInvalidArgument)
	f, err := b.PrepareLayer(b.ctx, "k3")
	b.ok(err)
	f.Close()
	b.ok(b.Commit(b.ctx, "c3", "k3", snapshot.WithParent("c2")))
	b.is("remove c2", b.Remove(b.ctx, "c2"), errdefs.ErrFailedPrecondition)
}

// oneWins commits one name from many sides.
func oneWins(b *bench) {
	const sides = 16
	won := make([]bool, sides)
	var wg sync.WaitGroup
	for i := range sides {
		wg.Go(func() {
			s := []snapshot.Store{b.Store, b.other}[i%2]
			key := fmt.Sprintf("k%d", i)
			f, err := s.PrepareLayer(b.ctx, key)
			if err != nil {
				b.Error(err)
				return
			}
			f.Close()
			switch err := s.CommitLayer(b.ctx, snapshot.Layer{Name: "chain", Key: key, Usage: snapshot.Usage{Size: int64(i)}}); {
			case err == nil:
				won[i] = true
			case errdefs.IsAlreadyExists(err):
				if err := s.Remove(b.ctx, key); err != nil {
					b.Error(err)
				}
			default:
				b.Error(err)
			}
		})
	}
	wg.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Index(won[winner+1:], true) >= 0 {
		b.Fatalf("winners: %v", won)
	}
	usage, err := b.other.Usage(b.ctx, "chain")
	b.ok(err)
	if usage.Size != int64(winner) {
		b.Fatalf("the usage is that of %d, the winner %d", usage.Size, winner)
	}
	b.names("chain")
}

// names holds that there are these snapshots and no others.
func (b *bench) names(want ...string) {
	b.Helper()
	got := []string{}
	b.ok(b.other.Walk(b.ctx, func(_ context.Context, info snapshot.Info) error {
		got = append(got, info.Name)
		return nil
	}))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.Fatalf("there are %q, want %q", got, want)
	}
}
