package cdi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"berth/base/fault"
)

const some = `{"cdiVersion":"1.0.0","kind":"v.com/c","containerEdits":{"env":["ALL=1"]},"devices":[
	{"name":"a","containerEdits":{"env":["A=1"]}},{"name":"b","containerEdits":{"env":["B=1"]}}]}`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	dirs := []string{one, two, filepath.Join(one, "none")}
	write(t, one, "v.json", some)
	write(t, one, "notes.txt", "nothing")
	edits, err := Find(dirs, []string{"v.com/c=a", "v.com/c=b"})
	if err != nil || len(edits) != 3 || edits[0].Env[0] != "ALL=1" || edits[2].Env[0] != "B=1" {
		t.Fatal(edits, err)
	}
	write(t, two, "v.yaml", "cdiVersion: 1.0.0\nkind: v.com/c\ndevices: [{name: a, containerEdits: {env: [A=2]}}]\n")
	if edits, err = Find(dirs, []string{"v.com/c=a"}); err != nil || edits[1].Env[0] != "A=2" {
		t.Error(edits, err)
	}
	write(t, two, "w.yaml", "cdiVersion: 1.0.0\nkind: v.com/c\ndevices: [{name: a, containerEdits: {env: [A=3]}}]\n")
	if _, err = Find(dirs, []string{"v.com/c=a"}); !fault.Is(err, fault.NotFound) {
		t.Error("two of one folder:", err)
	}
	for _, bad := range []string{
		`{`, `{"cdiVersion":"2.0","kind":"v.com/c"}`, `{"cdiVersion":"1.0","kind":"c"}`,
		`{"cdiVersion":"1.0","kind":"v.com/x","devices":[{"name":"q","containerEdits":{"deviceNodes":[{"path":"dev"}]}}]}`,
		`{"cdiVersion":"1.0","kind":"v.com/x","devices":[{"name":"q","containerEdits":{"mounts":[{"hostPath":"a","containerPath":"/b"}]}}]}`,
		`{"cdiVersion":"1.0","kind":"v.com/x","devices":[{"name":"q","containerEdits":{"hooks":[{"hookName":"odd","path":"/b"}]}}]}`,
		`{"cdiVersion":"1.0","kind":"v.com/x","devices":[{"name":"q","containerEdits":{"env":["=a"]}}]}`,
	} {
		write(t, one, "bad.json", bad)
		if _, err := Find([]string{one}, []string{"v.com/x=q"}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(some), true)
	f.Add([]byte("kind: v.com/c\ndevices:\n- name: a\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, isJSON bool) {
		var one file
		err := yaml.Unmarshal(b, &one)
		if isJSON {
			err = json.Unmarshal(b, &one)
		}
		if err == nil {
			_ = one.check()
		}
	})
}
