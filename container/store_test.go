package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/base/fault"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Warn: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *Store, name string, change ...func(*Record)) *Record {
	t.Helper()
	rec := &Record{Name: name, Image: ImageUsed{Name: "debian:12"}}
	for _, c := range change {
		c(rec)
	}
	l, err := s.Create(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	return rec
}

func toRemove(r *Record) { r.Config.Life.Remove = true }

func locked(t testing.TB, s *Store, id ID) *Locked {
	t.Helper()
	l, err := s.Lock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Unlock() })
	return l
}

// files lists all files and folders below a store, for leaks.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		rel, _ := filepath.Rel(dir, path)
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCreateFindRemove(t *testing.T) {
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprintf("rm=%v", remove), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			before := files(t, dir)
			rec := create(t, s, "web", func(r *Record) { r.Config.Life.Remove = remove })
			if len(rec.ID) != 64 || rec.Hostname != string(rec.ID[:12]) || rec.Created.IsZero() || rec.BootID == "" {
				t.Errorf("not filled in: %+v", rec)
			}
			for _, arg := range []string{"web", "/web", string(rec.ID), string(rec.ID[:12]), string(rec.ID[:1])} {
				got, err := s.Get(t.Context(), arg)
				if err != nil || got.ID != rec.ID || got.Image.Name != "debian:12" {
					t.Errorf("get %q: %v, %v", arg, got, err)
				}
			}
			list, err := s.List(t.Context())
			if err != nil || len(list) != 1 || list[0].Name != "web" || list[0].State() != StateCreated {
				t.Errorf("list: %+v, %v", list, err)
			}
			if kept := strings.HasPrefix(s.Home(rec.ID), filepath.Join(dir, "root")); kept == remove {
				t.Errorf("home is %s", s.Home(rec.ID))
			}
			if err := locked(t, s, rec.ID).Remove(); err != nil {
				t.Fatal(err)
			}
			if after := files(t, dir); !slices.Equal(before, after) {
				t.Errorf("left behind:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
			_, err = s.Get(t.Context(), "web")
			if err == nil || err.Error() != "No such container: web" || !fault.Is(err, fault.NotFound) {
				t.Errorf("after the removal: %v", err)
			}
			if _, err := s.Lock(t.Context(), rec.ID); !fault.Is(err, fault.NotFound) {
				t.Errorf("lock after the removal: %v", err)
			}
		})
	}
}

func TestErrorsInDockersWords(t *testing.T) {
	s := open(t, t.TempDir())
	a := create(t, s, "one", func(r *Record) { r.ID = ID("ab" + strings.Repeat("0", 62)) })
	create(t, s, "two", func(r *Record) { r.ID = ID("ab" + strings.Repeat("1", 62)) })
	_, err := s.Create(t.Context(), &Record{Name: "one"})
	want := `Conflict. The container name "/one" is already in use by container "` + string(a.ID) + `". You have to remove (or rename) that container to be able to reuse that name.`
	if err == nil || err.Error() != want || !fault.Is(err, fault.Conflict) {
		t.Errorf("name in use: %v", err)
	}
	for _, name := range []string{"x", "-ab", ".ab", "a b", "a/b", "ä1", "a\n", strings.Repeat("a", 300)} {
		_, err = s.Create(t.Context(), &Record{Name: name})
		if err == nil || !strings.HasPrefix(err.Error(), "Invalid container name (") || !strings.HasSuffix(err.Error(), "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed") {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for arg, want := range map[string]string{
		"ab": "Multiple IDs found with provided prefix: ab", "abc": "No such container: abc", "": "No such container: ",
		"three": "No such container: three", "../one": "No such container: ../one",
	} {
		if _, err := s.Get(t.Context(), arg); err == nil || err.Error() != want {
			t.Errorf("get %q: %v", arg, err)
		}
	}
	l := locked(t, s, a.ID)
	if err := l.Rename("two"); err == nil || !strings.HasPrefix(err.Error(), `Error when allocating new name: Conflict. The container name "/two" is already in use by container "ab1`) {
		t.Errorf("rename: %v", err)
	}
}

func TestRename(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "old")
	if err := locked(t, s, rec.ID).Rename("new"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "new"); err != nil || got.ID != rec.ID {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), "old"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the old name: %v", err)
	}
	create(t, s, "old")
	if list, _ := s.List(t.Context()); len(list) != 2 || list[1].Name != "new" {
		t.Errorf("list: %+v", list)
	}
}

// Of many that want one name, one gets it, also when it is a name whose container is gone.
func TestOneGetsTheName(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, stale := range []string{"", `{"version":1,"id":"` + strings.Repeat("a", 64) + `"}`, "torn"} {
		if stale != "" {
			if err := os.WriteFile(s.names.namePath("name"), []byte(stale), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		made := make(chan *Locked, 16)
		for range 16 {
			wg.Go(func() {
				l, err := s.Create(t.Context(), &Record{Name: "name"})
				if err == nil {
					made <- l
				} else if !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		close(made)
		if len(made) != 1 {
			t.Errorf("over %q: %d containers of one name", stale, len(made))
		}
		for l := range made {
			if err := l.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found, err := s.Check(t.Context(), nil); err != nil || len(found) > 0 {
		t.Errorf("check: %v, %v", found, err)
	}
	if left, _ := os.ReadDir(s.locks()); len(left) != 1 {
		t.Errorf("locks left: %v", left)
	}
}

// A killed create or remove leaves nothing that stays, and no name that is lost.
func TestKilledVerbs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rec := create(t, s, "there")
	id := ID(strings.Repeat("b", 64))
	for _, d := range []string{filepath.Join(s.kept(), hidden+string(id)), filepath.Join(s.running(), hidden+string(id)), s.RunDir(id)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.names.claim("half", id); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.names.namePath("there")); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(t.Context(), nil); err != nil || len(found) != 3 {
		t.Errorf("check: %v, %v", found, err)
	}
	create(t, s, "half") // taken over
	if _, err := s.Check(t.Context(), func(ID, Intent) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Check(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("check after repair: %v, %v", found, err)
	}
	if got, err := s.Get(t.Context(), "there"); err != nil || got.ID != rec.ID {
		t.Errorf("%v, %v", got, err)
	}
}

// One bad record is one bad container.
func TestBadRecord(t *testing.T) {
	s := open(t, t.TempDir())
	bad := create(t, s, "bad")
	create(t, s, "good")
	for _, f := range []string{recordFile, summaryFile} {
		if err := os.WriteFile(filepath.Join(s.Home(bad.ID), f), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if found, err := s.Check(t.Context(), nil); err != nil || len(found) != 1 || !found[0].Harm {
		t.Errorf("check: %+v, %v", found, err)
	}
	if err := locked(t, s, bad.ID).Remove(); err != nil {
		t.Errorf("remove the bad one: %v", err)
	}
}

func TestSummaryIsMadeAgain(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "sum")
	path := filepath.Join(s.Home(rec.ID), summaryFile)
	for _, damage := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, nil, 0o600) },
		func() error {
			return locked(t, s, rec.ID).Update(func(r *Record) error { r.Resolved.Labels = map[string]string{"a": "b"}; return nil })
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(t.Context()); err != nil || len(list) != 1 || list[0].Name != "sum" {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if list, _ := s.List(t.Context()); list[0].Labels["a"] != "b" {
		t.Error("the change is not in the summary")
	}
}

func TestRandomName(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := RandomName()
		if err := CheckName(n); err != nil || strings.Count(n, "_") != 1 {
			t.Errorf("%q: %v", n, err)
		}
		seen[n] = true
	}
	if len(seen) < 900 {
		t.Errorf("only %d names of 1000 differ", len(seen))
	}
	s := open(t, t.TempDir())
	if r := create(t, s, ""); CheckName(r.Name) != nil {
		t.Errorf("%q", r.Name)
	}
}
