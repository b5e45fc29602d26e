package stress

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"
)

// TestBadIDs gives names that are none.
func TestBadIDs(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t, bundle.Args("/bin/true"))
	leak.Check(t, rt.Root)
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/abs", "a\nb", "a b", "ä", "a\x01b", strings.Repeat("x", 5000), "a;b", "$(id)", "\xff"} {
		refused(t, rt, rt.Do("run", "--bundle", b.Dir, "--", id), "", "(?i)id|name|usage|argument")
		for _, verb := range []string{"state", "start", "delete", "kill", "pause", "ps"} {
			refused(t, rt, rt.Do(verb, "--", id), "", "(?i)id|exist|name|usage|argument|too long")
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(rt.Root)); len(entries) > 1 {
		t.Errorf("files beside the state folder: %v", entries)
	}
}

// damages are what can have happened to one file of a container's state.
var damages = map[string]func(path string, good []byte) error{
	"empty":    func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
	"cut":      func(path string, good []byte) error { return os.WriteFile(path, good[:len(good)/2], 0o600) },
	"nonsense": func(path string, _ []byte) error { return os.WriteFile(path, []byte("\x00\xffnonsense"), 0o600) },
	"foreign": func(path string, _ []byte) error {
		return os.WriteFile(path, []byte(`{"id": 7, "pid": "x", "version": 99}`), 0o600)
	},
	"huge":    func(path string, _ []byte) error { return os.WriteFile(path, bytes.Repeat([]byte("["), 64<<20), 0o600) },
	"removed": func(path string, _ []byte) error { return os.Remove(path) },
	"fifo": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return syscall.Mkfifo(path, 0o600)
	},
	"folder": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o700)
	},
	"loop": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(filepath.Base(path), path)
	},
}

// TestDamagedState damages each file of a container's state in turn: no verb
// hangs or crashes, list still shows the others, and delete --force removes
// the container and its process, or says in one line why it cannot; with the
// file mended it does.
func TestDamagedState(t *testing.T) {
	needRoot(t)
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			rt := bundle.Ours(t)
			leak.Check(t, rt.Root)
			other := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000")))
			b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			for _, file := range stateFiles(t, rt, b) {
				id := rt.NewID()
				rt.Must("run", "--detach", "--bundle", b.Dir, id)
				path := filepath.Join(rt.Root, id, file)
				good, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, good); err != nil {
					t.Fatal(err)
				}
				handled(t, rt, id, file, other)
				if _, err := os.Lstat(filepath.Join(rt.Root, id)); err == nil {
					_ = os.RemoveAll(path)
					if err := os.WriteFile(path, good, 0o600); err != nil {
						t.Fatal(err)
					}
					rt.Must("delete", "--force", id)
				}
			}
			rt.Remove(other)
		})
	}
}

// handled tries the verbs on a damaged container, delete --force at last.
func handled(t *testing.T, rt *bundle.Runtime, id, file, other string) {
	t.Helper()
	for _, words := range [][]string{{"state", id}, {"ps", id}, {"kill", id, "0"}, {"exec", id, "/bin/true"}, {"events", "--stats", id}} {
		res := rt.Do(words...)
		// Some files matter to some verbs only: then they work.
		if res.Code != 0 {
			refused(t, rt, res, "", ".")
		}
		if res.Duration > badInput || strings.Contains(res.Stderr, "panic") {
			t.Errorf("%s damaged: %s", file, clip(res.String()))
		}
	}
	if res := rt.Do("list", "--quiet"); res.Code != 0 || !strings.Contains(res.Stdout, other) {
		t.Errorf("%s damaged: list must show the others: %s", file, clip(res.String()))
	}
	res := rt.Do("delete", "--force", id)
	if res.Code != 0 {
		refused(t, rt, res, "", file+"|state")
		return
	}
	if _, err := os.Lstat(filepath.Join(rt.Root, id)); err == nil || res.Duration > badInput {
		t.Errorf("%s damaged: the state folder is left: %s", file, clip(res.String()))
	}
}

// stateFiles are the regular files that a running container has.
func stateFiles(t *testing.T, rt *bundle.Runtime, b *bundle.Bundle) []string {
	t.Helper()
	id := rt.NewID()
	rt.Must("run", "--detach", "--bundle", b.Dir, id)
	defer rt.Remove(id)
	var files []string
	dir := filepath.Join(rt.Root, id)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no state files below %s: %v", dir, err)
	}
	return files
}

// TestForeignState has things in the state folder that no container made.
func TestForeignState(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	other := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000")))
	for name, make := range map[string]func(path string) error{
		"empty-folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"file":         func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"fifo":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link":         func(path string) error { return os.Symlink("/etc", path) },
	} {
		path := filepath.Join(rt.Root, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if res := rt.Do("state", name); res.Code != 0 || name != "empty-folder" {
			// An empty folder is a container whose creator died at once.
			refused(t, rt, res, "", ".")
		}
		refused(t, rt, rt.Do("exec", name, "/bin/true"), "", ".")
		if res := rt.Do("list", "--quiet"); res.Code != 0 || !strings.Contains(res.Stdout, other) || res.Duration > badInput {
			t.Errorf("%s: list must show the others: %s", name, clip(res.String()))
		}
		if res := rt.Do("delete", "--force", name); res.Duration > badInput {
			t.Errorf("%s: %s", name, clip(res.String()))
		}
		if _, err := os.Stat("/etc/passwd"); err != nil {
			t.Fatalf("%s: delete followed the link: %v", name, err)
		}
		_ = os.RemoveAll(path)
	}
	rt.Remove(other)
}
