package rootfs_test

import (
	"encoding/json"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/runtime/rootfs"
)

// Any spec is planned or refused with one line; a plan survives its encoding.
func FuzzPlan(f *testing.F) {
	for _, s := range []*specs.Spec{defaultSpec(), dockerSpec(), usernsSpec()} {
		text, err := json.Marshal(s)
		must(f, err)
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Add([]byte(`{"root":{"path":"r"},"mounts":[{"destination":"/proc/../proc/sys","type":"tmpfs"}],"linux":{"namespaces":[{"type":"mount"}]}}`), true)
	f.Add([]byte(`{"root":{"path":"r"},"linux":{"devices":[{"path":"/dev/a\nb","type":"c","major":-1}],"maskedPaths":["\n"]}}`), false)
	f.Fuzz(func(t *testing.T, text []byte, root bool) {
		var spec specs.Spec
		if json.Unmarshal(text, &spec) != nil {
			return
		}
		opt := rootfs.Options{Bundle: "/b", Cgroup: v1View}
		if root {
			opt.Rights = hostRights
		}
		b := plan.New()
		err := rootfs.Before(b, &spec, opt)
		if err == nil {
			err = rootfs.Pivot(b, &spec, opt)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") || err.Error() == "" {
				t.Errorf("error %q", err)
			}
			return
		}
		for _, line := range b.Lines()[1:] {
			if line == "" {
				t.Error("a step without a name")
			}
		}
		for _, s := range b.Steps() {
			if strings.Contains(s.Name(), "\n") {
				t.Errorf("name of a step: %q", s.Name())
			}
			if m, ok := s.(*initproc.Mount); ok && m.Dest[0] != '/' {
				t.Errorf("destination %q", m.Dest)
			}
		}
		if _, err := initproc.Decode(b.Encode()); err != nil {
			t.Error(err)
		}
	})
}
