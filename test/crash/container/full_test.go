package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/test/netns"
)

// TestFull fills the run folder, and then the disk, while a container runs: what
// needs room fails in one line and leaves nothing half-made; what runs can be
// seen, its exit is kept, and it can be removed.
func TestFull(t *testing.T) {
	netns.Need(t)
	for _, c := range []struct{ name, folder string }{{"run", ""}, {"disk", "root"}} {
		t.Run(c.name, func(t *testing.T) {
			p, err := newPlace(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			target := p.Run
			if c.folder != "" {
				target = filepath.Join(p.Dir, c.folder)
			}
			p.mount = target
			if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=24m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_, err := p.Empty()
				if err != nil {
					t.Error(err)
				}
				if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
				if err := p.Remove(); err != nil {
					t.Error(err)
				}
			})
			if err := full(p, target); err != nil {
				t.Error(err)
			}
		})
	}
}

func full(p *place, target string) error {
	// The image anew, where the disk is a new one; what is there already in a new
	// run folder gets its names again.
	if err := p.Do("run", "--rm", "--network", "none", "berth/base", "true").Err(); err != nil {
		return err
	}
	var err error
	if p.store, err = p.stored(); err != nil {
		return err
	}
	if err := p.Do("run", "-d", "--name", "lives", "--network", "none", "-v", "/data", "berth/base", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 1000 & wait; done").Err(); err != nil {
		return err
	}
	fill(target)
	for _, words := range [][]string{
		{"create", "--name", "one", "berth/base", "true"}, {"run", "--rm", "--name", "one", "berth/base", "true"}, {"run", "-d", "--name", "one", "berth/base", "sleep", "1000"},
	} {
		r := p.Do(words...)
		if r.Code == 0 { // it found some room
			if err := p.Do("rm", "-f", "one").Err(); err != nil && !strings.Contains(err.Error(), gone) {
				return err
			}
		} else if r.Code == -1 || !strings.Contains(r.Errors, "no space left on device") {
			return fmt.Errorf("with nothing free: %s", r)
		}
		fill(target)
	}
	if r := p.Do("ps", "-a", "--format", "{{.Names}} {{.State}}"); r.Code != 0 || r.Out != "lives running\n" {
		return fmt.Errorf("with nothing free: %s", r)
	}
	if r := p.Do("kill", "-s", "TERM", "lives"); r.Code != 0 && !strings.Contains(r.Errors, "no space left on device") {
		return fmt.Errorf("with nothing free: %s", r)
	}
	if r := p.Do("rm", "-f", "-v", "lives"); r.Code != 0 {
		return fmt.Errorf("with nothing free: %s", r)
	}
	filled, _ := filepath.Glob(target + "/fill-*")
	for _, f := range filled {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	if err := p.Do("run", "--rm", "--name", "one", "berth/base", "true").Err(); err != nil {
		return err
	}
	return p.clean()
}

// fill takes all room of a file system.
func fill(dir string) {
	for k, size := 0, 1<<20; size > 0; k++ {
		if os.WriteFile(fmt.Sprintf("%s/fill-%d-%d", dir, size, k), make([]byte, size), 0o600) != nil {
			size /= 4
		}
	}
}
