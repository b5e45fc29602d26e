package selinux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

const (
	process = "system_u:system_r:container_t:s0"
	file    = "system_u:object_r:container_file_t:s0"
)

// machine has a policy of the given lxc_contexts. Its kernel is a plain file, that takes
// any label: the real one is asked in the test guest.
func machine(t *testing.T, contexts string) Machine {
	t.Helper()
	dir := t.TempDir()
	m := Machine{FS: dir + "/fs", Etc: dir + "/etc", Usr: dir + "/usr"}
	for name, text := range map[string]string{"fs/mls": "1", "fs/context": "", "etc/config": "# no\nSELINUX=enforcing\nSELINUXTYPE=mine \n", "etc/mine/contexts/lxc_contexts": contexts} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const whole = `# of the policy
process = "` + process + `"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "` + file + `"
ro_file="system_u:object_r:container_ro_file_t:s0"
`

func TestLabels(t *testing.T) {
	p, err := machine(t, whole).Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		options            string
		process, file, bad string
		draws              bool
	}{
		{"", process + ":c1,c2", file + ":c1,c2", "", true},
		{"disable", "", file + ":c1022,c1023", "", false},
		{"type:spc_t", "system_u:system_r:spc_t:s0:c1,c2", file + ":c1,c2", "", true},
		{"level:s0:c7,c8", process + ":c7,c8", file + ":c7,c8", "", false},
		{"user:me role:mine_r", "me:mine_r:container_t:s0:c1,c2", "me:object_r:container_file_t:s0:c1,c2", "", true},
		{"filetype:usr_t nested", process + ":c1,c2", "system_u:object_r:usr_t:s0:c1,c2", "", true},
		{"nonsense", "", "", `bad label option "nonsense", valid options 'disable'`, true},
		{"type:", "", "", `bad label option "type:"`, true},
		{"colour:red", "", "", `bad label option "colour:red"`, true},
	} {
		options := strings.Fields(tc.options)
		if p.Draws(options) != tc.draws {
			t.Errorf("%q: draws a level: %v", tc.options, !tc.draws)
		}
		level := ""
		if tc.draws {
			level = "s0:c1,c2"
		}
		got, err := p.Labels(options, level)
		if tc.bad != "" {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.bad) {
				t.Errorf("%q: %v", tc.options, err)
			}
			continue
		}
		if err != nil || got.Process != tc.process || got.Mount != tc.file || got.Layers != "system_u:object_r:container_ro_file_t:s0" {
			t.Errorf("%q: %+v, %v", tc.options, got, err)
		}
	}
}

func TestSame(t *testing.T) {
	p, err := machine(t, whole).Load()
	if err != nil {
		t.Fatal(err)
	}
	const other = "u:r:t:s0:c5,c9"
	options, err := Same(other)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Labels(options, ""); err != nil || got.Process != other || p.Draws(options) {
		t.Errorf("%q gives %+v, %v", options, got, err)
	}
	if _, err := Same("no label"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no label: %v", err)
	}
	if got := Shared(file + ":c1,c2"); got != file {
		t.Errorf("shared: %s", got)
	}
}

func TestPolicyWithoutContainers(t *testing.T) {
	none := machine(t, whole)
	if err := os.Remove(none.Etc + "/mine/contexts/lxc_contexts"); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]Machine{"nothing": none, "no process": machine(t, `file = "`+file+`"`), "no label": machine(t, `process = "x"`), "no text": machine(t, "\x00\xff=\n=")} {
		if _, err := m.Load(); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	without := machine(t, strings.ReplaceAll(whole, ":s0", ""))
	p, err := without.Load()
	if err != nil || p.Draws(nil) {
		t.Errorf("a policy without levels: %v", err)
	}
}

func TestLevels(t *testing.T) {
	seen := map[string]bool{}
	for n := range uint32(Pairs + 1) {
		l := Level(n)
		if seen[l] {
			t.Fatalf("%d: %s again", n, l)
		}
		seen[l] = true
	}
	for n, want := range map[uint32]string{0: "s0:c0,c1", 1022: "s0:c0,c1023", 1023: "s0:c1,c2", Pairs - 1: "s0:c1021,c1023", Pairs: "s0:c1022,c1023"} {
		if got := Level(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
}

func labelOf(t *testing.T, path string) string {
	t.Helper()
	var b [200]byte
	n, err := unix.Lgetxattr(path, attribute, b[:])
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestRelabel(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("labels are root's to give")
	}
	dir := t.TempDir()
	tree, outside := filepath.Join(dir, "tree"), filepath.Join(dir, "outside")
	for _, d := range []string{tree + "/a/b", outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{tree + "/a/b/file", outside + "/file"} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{tree + "/folder": outside, tree + "/a/link": outside + "/file", dir + "/way": tree} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(tree+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Relabel(dir+"/way", file); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"", "/a", "/a/b", "/a/b/file", "/folder", "/a/link", "/fifo"} {
		if got := labelOf(t, tree+in); got != file {
			t.Errorf("%s: %q", in, got)
		}
	}
	for _, out := range []string{outside, outside + "/file", dir + "/way"} {
		if got := labelOf(t, out); got == file {
			t.Errorf("%s was labelled", out)
		}
	}
	if err := RelabelOnce(tree, strings.ReplaceAll(file, "_file_", "_ro_")); err != nil || labelOf(t, tree+"/a/b/file") == file {
		t.Errorf("another label: %q, %v", labelOf(t, tree+"/a/b/file"), err)
	}
	for _, system := range []string{"/", "/etc", "/usr", "/home", "/var/lib"} {
		if err := Relabel(system, file); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is not allowed") {
			t.Errorf("%s: %v", system, err)
		}
	}
}
