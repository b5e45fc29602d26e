package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/base/fault"
)

// TestWritable: a tree above an image keeps the image's layers through a
// removal and a collection, and its own files; both go with it.
func TestWritable(t *testing.T) {
	s := newStore(t)
	w := NewWritables(s)
	imported(t, s, "writable", "etc/", "etc/one")
	base, err := w.Base(t.Context(), "writable")
	if err != nil {
		t.Fatal(err)
	}
	if base.Name != "docker.io/library/writable:latest" || strings.Join(base.Config.Defaults.Cmd, " ") != "/bin/sh -c /bin/true" {
		t.Errorf("base %q, command %q", base.Name, base.Config.Defaults.Cmd)
	}
	byID, err := w.Base(t.Context(), base.ID.Encoded()[:12])
	if err != nil || byID.ID != base.ID || byID.Name != "" {
		t.Errorf("by id: %v, %v", byID, err)
	}
	if _, err := w.Base(t.Context(), "other"); !fault.Is(err, fault.NotFound) || err.Error() != "No such image: other:latest" {
		t.Errorf("an image that is not here: %v", err)
	}

	tree, err := w.Prepare(t.Context(), "c1", base.Image, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Prepare(t.Context(), "c1", base.Image, 0, nil); !fault.Is(err, fault.Exists) {
		t.Errorf("a second of the same key: %v", err)
	}
	if len(tree.Lower) != 1 || tree.Work == "" || !strings.HasPrefix(tree.Upper, tree.Store+"/") {
		t.Errorf("tree %+v", tree)
	}
	file := filepath.Join(tree.Upper, "made")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := remove(t, s, RemoveOptions{Force: true}, "writable"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context(), PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(tree.Lower[0], "etc/one")); err != nil || string(b) != "etc/one" {
		t.Errorf("the layer below after rmi: %q, %v", b, err)
	}
	again, err := w.Find(t.Context(), "c1")
	if err != nil || again.Upper != tree.Upper {
		t.Errorf("found again: %+v, %v", again, err)
	}
	if err := w.Remove(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(t.Context(), "c1"); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := os.Stat(tree.Upper); !os.IsNotExist(err) {
		t.Errorf("its own files are still there: %v", err)
	}
	if _, err := w.Find(t.Context(), "c1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a removed tree: %v", err)
	}
	if _, err := s.Prune(t.Context(), PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tree.Lower[0]); !os.IsNotExist(err) {
		t.Errorf("the layer below is still there: %v", err)
	}
}
