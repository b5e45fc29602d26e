package bundle

import (
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestOwnIDs: podman's maps for a user with one range and with two; no line lies in two of those around.
func TestOwnIDs(t *testing.T) {
	m := func(n ...uint32) (out []specs.LinuxIDMapping) {
		for ; len(n) > 0; n = n[3:] {
			out = append(out, specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]})
		}
		return out
	}
	one := m(0, 1000, 1)
	usual := m(0, 1000, 1, 1, 100000, 65536)
	two := m(0, 1000, 1, 1, 100000, 10, 11, 300000, 20)
	for _, c := range []struct {
		mode   string
		around []specs.LinuxIDMapping
		want   []specs.LinuxIDMapping
	}{
		{"", usual, nil},
		{"host", usual, nil},
		{"keep-id", usual, m(0, 1, 1000, 1000, 0, 1, 1001, 1001, 64536)},
		{"keep-id:uid=0,gid=0", usual, m(0, 0, 1, 1, 1, 65536)},
		{"keep-id:uid=65536,gid=65536", usual, m(0, 1, 65536, 65536, 0, 1)},
		{"keep-id:uid=1234567,gid=1234567", usual, m(0, 1, 65536, 1234567, 0, 1)},
		{"keep-id", one, m(1000, 0, 1)},
		{"keep-id:uid=5,gid=5", two, m(0, 1, 5, 5, 0, 1, 6, 6, 5, 11, 11, 20)},
		{"nomap", usual, m(0, 1, 65536)},
		{"nomap", two, m(0, 1, 10, 10, 11, 20)},
		{"private", one, m(0, 0, 1)},
		{"private", usual, m(0, 0, 1, 1, 1, 65536)},
	} {
		p := &Person{UID: 1000, GID: 1000, UIDs: c.around, GIDs: c.around}
		uids, gids, err := OwnIDs(c.mode, p)
		if err != nil || !reflect.DeepEqual(uids, c.want) || !reflect.DeepEqual(gids, c.want) {
			t.Errorf("%s within %v: %v, %v, %v", c.mode, c.around, uids, gids, err)
		}
	}
	if _, _, err := OwnIDs("nomap", &Person{UIDs: one, GIDs: one}); err == nil {
		t.Error("nomap with one id")
	}
}
