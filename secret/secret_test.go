package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/base/fault"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	var warned []error
	s, err := Open(Options{Root: root, Run: t.TempDir(), Warn: func(err error) { warned = append(warned, err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s, filepath.Join(root, "secrets")
}

func TestSecrets(t *testing.T) {
	s, dir := open(t)
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	made, err := s.Create(Secret{Name: "one", Data: []byte("a\x00b\n"), Labels: map[string]string{"k": "v"}}, false)
	if err != nil || len(made.ID) != 25 {
		t.Fatal(made, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "one"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
	if _, err := s.Create(Secret{Name: "one", Data: []byte("x")}, false); !fault.Is(err, fault.Exists) {
		t.Error(err)
	}
	for _, name := range []string{"one", made.ID, made.ID[:5]} {
		if got, err := s.Get(name); err != nil || got.Name != "one" || string(got.Data) != "a\x00b\n" || got.Labels["k"] != "v" {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	again, err := s.Create(Secret{Name: "one", Data: []byte("new")}, true)
	if err != nil || again.ID == made.ID {
		t.Error(again, err)
	}
	if got, err := s.Get("one"); err != nil || string(got.Data) != "new" {
		t.Error(got, err)
	}
	if id, err := s.Remove("one"); err != nil || id != again.ID {
		t.Error(id, err)
	}
	if _, err := s.Remove("one"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestBadSecrets(t *testing.T) {
	s, dir := open(t)
	for _, name := range []string{"", ".", "..", "a/b", "../a", "-a", ".stage-1", "a b", "a\n", strings.Repeat("a", 254)} {
		if _, err := s.Create(Secret{Name: name, Data: []byte("x")}, false); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := s.Get(name); !fault.Is(err, fault.NotFound) {
			t.Errorf("get %q: %v", name, err)
		}
	}
	for _, size := range []int{0, MaxData + 1} {
		if _, err := s.Create(Secret{Name: "a", Data: make([]byte, size)}, false); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d: %v", size, err)
		}
	}
	if _, err := s.Create(Secret{Name: "full", Data: make([]byte, MaxData)}, false); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	if _, err := s.Get("broken"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
