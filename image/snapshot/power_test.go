package snapshot

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
)

func open(t testing.TB, dir string, opts ...Option) *Overlay {
	t.Helper()
	o, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// afterReboot is the store as a process of the next boot sees it.
func afterReboot(t testing.TB, dir string) *Overlay {
	o := open(t, dir, LaterSync())
	o.boot = "another boot"
	return o
}

func layer(t testing.TB, o *Overlay, name, parent string) {
	t.Helper()
	f, err := o.PrepareLayer(t.Context(), "new "+name)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := o.CommitLayer(t.Context(), Layer{Name: name, Parent: parent, Key: "new " + name}); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, o *Overlay) []string {
	t.Helper()
	list := []string{}
	err := o.Walk(t.Context(), func(_ context.Context, i Info) error {
		list = append(list, i.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func entries(t testing.TB, o *Overlay, dir string) int {
	t.Helper()
	list, err := os.ReadDir(o.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestLostCommit lets the machine stop before anybody synced a layer: another
// boot does not see it, sweeps it, and can make it again.
func TestLostCommit(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, LaterSync())
	layer(t, o, "synced", "")
	layer(t, o, "synced two", "synced")
	if err := o.Sync(t.Context(), "synced two"); err != nil {
		t.Fatal(err)
	}
	layer(t, o, "lost", "synced two")
	layer(t, o, "lost two", "lost")
	layer(t, o, "again", "synced two")
	if _, err := o.Prepare(t.Context(), "box", "again"); err != nil {
		t.Fatal(err)
	}

	o = afterReboot(t, dir)
	if got := names(t, o); !slices.Equal(got, []string{"box", "synced", "synced two"}) {
		t.Fatalf("after the reboot there are %q", got)
	}
	if _, err := o.Stat(t.Context(), "lost"); !errdefs.IsNotFound(err) {
		t.Fatalf("stat of the lost one: %v", err)
	}
	if _, err := o.Prepare(t.Context(), "box2", "lost"); !errdefs.IsNotFound(err) {
		t.Fatalf("prepare on the lost one: %v", err)
	}
	if _, err := o.Mounts(t.Context(), "box"); !errdefs.IsNotFound(err) {
		t.Fatalf("mounts on the lost one: %v", err)
	}
	if err := o.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	// "again" stays as it has a child, and is replaced.
	if n := entries(t, o, foldersDir); n != 4 {
		t.Fatalf("%d folders after Cleanup, want 4", n)
	}
	layer(t, o, "again", "synced two")
	layer(t, o, "lost", "synced two")
	if _, err := o.Mounts(t.Context(), "box"); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove(t.Context(), "again"); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("remove of one with a child: %v", err)
	}
	if err := o.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, o, unsyncedDir); n != 0 {
		t.Fatalf("%d are unsynced after Sync of all", n)
	}
	if n := entries(t, o, foldersDir); n != 5 {
		t.Fatalf("%d folders, want 5", n)
	}
}

// TestOtherMade is a layer whose maker was killed before its Sync: who finds it
// there and names it syncs it.
func TestOtherMade(t *testing.T) {
	dir := t.TempDir()
	layer(t, open(t, dir, LaterSync()), "one", "")
	layer(t, open(t, dir, LaterSync()), "two", "one")
	o := open(t, dir, LaterSync())
	for range 3 { // the second and third have nothing to do
		if err := o.Sync(t.Context(), "two"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, afterReboot(t, dir)); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("after the reboot there are %q", got)
	}
}

// TestDurable commits with a sync: nothing is unsynced.
func TestDurable(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	layer(t, o, "one", "")
	o = afterReboot(t, dir)
	if got := names(t, o); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("after the reboot there are %q", got)
	}
	if n := entries(t, o, unsyncedDir); n != 0 {
		t.Fatalf("%d unsynced", n)
	}
}

// TestBrokenRecord is one bad file among good ones.
func TestBrokenRecord(t *testing.T) {
	dir := t.TempDir()
	var said []error
	o := open(t, dir, LaterSync(), Report(func(err error) { said = append(said, err) }))
	layer(t, o, "bad", "")
	layer(t, o, "good", "")
	layer(t, o, "later", "")
	if err := os.WriteFile(o.recordPath(hashOf("bad")), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, o); !slices.Equal(got, []string{"good", "later"}) || len(said) != 1 {
		t.Fatalf("%q; said %v", got, said)
	}
	if err := o.Cleanup(t.Context()); err == nil {
		t.Fatal("Cleanup says nothing of the broken record")
	}
	if n := entries(t, o, foldersDir); n != 3 {
		t.Fatalf("Cleanup left %d folders of 3 while one has a broken record", n)
	}
	layer(t, o, "bad", "good") // takes its place
	if err := o.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, o, foldersDir); n != 3 {
		t.Fatalf("%d folders, want 3", n)
	}
	if err := os.WriteFile(o.recordPath(hashOf("bad")), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove(t.Context(), "bad"); err != nil {
		t.Fatal(err)
	}
	// What a later version wrote is left alone.
	if err := os.WriteFile(o.recordPath(hashOf("later")), []byte(`{"version":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Prepare(t.Context(), "later", ""); !errdefs.IsNotImplemented(err) {
		t.Fatalf("prepare: %v", err)
	}
	if err := o.Remove(t.Context(), "later"); !errdefs.IsNotImplemented(err) {
		t.Fatalf("remove: %v", err)
	}
}

// TestLostMark is a child's mark that a power cut took: Cleanup writes it again.
func TestLostMark(t *testing.T) {
	o := open(t, t.TempDir(), LaterSync())
	layer(t, o, "one", "")
	layer(t, o, "two", "one")
	if err := os.RemoveAll(o.path(childrenDir, hashOf("one"))); err != nil {
		t.Fatal(err)
	}
	if err := o.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove(t.Context(), "one"); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("remove: %v", err)
	}
}

// TestOpenRefuses are paths that would end up in overlay's options.
func TestOpenRefuses(t *testing.T) {
	for _, dir := range []string{"", "store", "/tmp/a:b", "/tmp/a,b", `/tmp/a\b`} {
		if _, err := Open(dir); !errdefs.IsInvalidArgument(err) {
			t.Errorf("open %q: %v", dir, err)
		}
	}
}
