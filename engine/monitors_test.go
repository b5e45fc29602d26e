package engine

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/monitor"
	"berth/runtime"
)

// A monitor that did not come up ahead spoils no start: neither the first of
// `start A B C` nor those after it.
func TestAheadFailed(t *testing.T) {
	dir := t.TempDir()
	e := &Engine{Runtime: &runtime.Runtime{Root: filepath.Join(dir, "oci")}}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := was
	none.Cur = 1 // no file can be opened
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	ahead := StartAhead(t.Context(), e)
	<-ahead.done
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	if ahead.conn != nil {
		t.Fatal("it came up")
	}
	for _, name := range []string{"a", "b"} {
		conn, err := startMonitor(t.Context(), e, monitor.Config{ID: name, Dir: t.TempDir()}, ahead)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
		conn.Reap()
	}
}
