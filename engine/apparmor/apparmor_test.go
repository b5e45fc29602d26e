package apparmor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixture is a machine whose apparmor_parser and kernel are a script and a file.
func fixture(t *testing.T, script string) (*Machine, func() string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	parser := write("parser", "#!/bin/sh\nexec 2>&1\necho \"$@ [$PATH_OF_THE_CALLER]\" >>"+dir+"/tried\n"+script, 0o755)
	t.Setenv("PATH_OF_THE_CALLER", "leaked")
	if err := os.MkdirAll(dir+"/etc/disable", 0o755); err != nil {
		t.Fatal(err)
	}
	m := &Machine{
		Note: dir + "/note", etc: dir + "/etc", parsers: []string{dir + "/no-such", parser},
		has: func(string) bool { return exists(dir + "/loaded") },
	}
	return m, func() string {
		b, _ := os.ReadFile(dir + "/tried")
		return string(b)
	}
}

func TestLoadedOnce(t *testing.T) {
	m, tried := fixture(t, "cd ${0%/*}; cat >loaded; case $(cat loaded) in *'profile berth-default '*) ;; *) exit 1; esac")
	if m.Ready() {
		t.Fatal("there before it was loaded")
	}
	for range 3 {
		if ready, err := m.Ensure(t.Context()); !ready || err != nil {
			t.Fatalf("%v, %v", ready, err)
		}
	}
	if got := tried(); got != "--replace --quiet []\n" {
		t.Errorf("it ran: %q", got)
	}
	// A newer berth brings its own text, over what an older one loaded.
	if err := os.WriteFile(m.Note, note{of: "of another text"}.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if ready, err := m.Ensure(t.Context()); !ready || err != nil || strings.Count(tried(), "\n") != 2 {
		t.Errorf("%v, %v after %q", ready, err, tried())
	}
	// Not over what others loaded.
	if err := os.Remove(m.Note); err != nil {
		t.Fatal(err)
	}
	if ready, err := m.Ensure(t.Context()); !ready || err != nil || strings.Count(tried(), "\n") != 2 {
		t.Errorf("%v, %v after %q", ready, err, tried())
	}
}

func TestRefusedOnce(t *testing.T) {
	m, tried := fixture(t, "echo 'no such luck'; yes 2>/dev/null | head -c 100000; exit 3")
	ready, err := m.Ensure(t.Context())
	if ready || err == nil || !strings.Contains(err.Error(), "no such luck") || len(err.Error()) > 700 || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v, %v", ready, err)
	}
	if ready, err := m.Ensure(t.Context()); ready || err != nil {
		t.Errorf("the second time: %v, %v", ready, err)
	}
	if why, next := m.Missing(); next || !strings.Contains(why, "no such luck") {
		t.Errorf("%q %v", why, next)
	}
	// A file of the administrator's is something else to try.
	if err := os.WriteFile(m.file(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Ensure(t.Context()); err == nil || !strings.HasSuffix(tried(), "--replace --quiet "+m.file()+" []\n") {
		t.Errorf("%v after %q", err, tried())
	}
	if err := m.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Error(err)
	}
}

func TestNotLoaded(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(m *Machine) error
		want string
	}{
		"rootless":     {func(m *Machine) error { m.Rootless = true; return nil }, "root's berth"},
		"with a file":  {func(m *Machine) error { m.Rootless = true; return os.WriteFile(m.file(), nil, 0o644) }, "sudo apparmor_parser -r"},
		"no parser":    {func(m *Machine) error { m.parsers = nil; return nil }, "install the package apparmor"},
		"disabled":     {func(m *Machine) error { return os.Symlink("x", m.disabled()) }, "disable/berth-default"},
		"no directory": {func(m *Machine) error { m.parsers = m.parsers[:1]; return nil }, "install"},
	} {
		m, tried := fixture(t, "exit 0")
		if err := change.do(m); err != nil {
			t.Fatal(err)
		}
		if ready, err := m.Ensure(t.Context()); ready || err != nil || tried() != "" {
			t.Errorf("%s: %v, %v, ran %q", name, ready, err, tried())
		}
		if why, next := m.Missing(); next || !strings.Contains(why, change.want) {
			t.Errorf("%s: %q %v", name, why, next)
		}
	}
}
