// Package bundle makes OCI bundles for tests and runs them with a real
// runtime: a small static root file system, a config.json like the one that
// Docker would write, and helpers that start the program under test with its
// own state folder, within a time limit, and clean up after it.
//
// It is not a runtime and knows nothing of berth's packages: it sees the
// runtime as a command line only, so that the same test runs against any of
// them (environment variable BERTH_OCI). It belongs to the tests, outside
// the rows.
package bundle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Bundle is a folder with config.json and rootfs.
type Bundle struct {
	Dir    string      // the bundle
	Rootfs string      // its root file system
	Spec   *specs.Spec // as in config.json; call Write after changing it
}

// Option changes a bundle before it is written. It may change files in the
// root file system, too.
type Option func(*Bundle) error

// New makes a bundle in a folder that ends with the test.
func New(t testing.TB, options ...Option) *Bundle {
	t.Helper()
	dir := t.TempDir()
	// A container's user must get to the root file system.
	for p := dir; strings.HasPrefix(p, os.TempDir()+"/"); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Make(dir, options...)
	if err != nil {
		t.Fatalf("bundle: %v", err)
	}
	return b
}

// Make makes a bundle in the folder: Default's configuration, busybox and
// the probe, changed by the options in order.
func Make(dir string, options ...Option) (*Bundle, error) {
	b := &Bundle{Dir: dir, Rootfs: filepath.Join(dir, "rootfs"), Spec: Default()}
	b.Spec.Linux.CgroupsPath = "/" + Name("cg")
	if err := b.fill(); err != nil {
		return nil, err
	}
	for _, o := range options {
		if err := o(b); err != nil {
			return nil, err
		}
	}
	return b, b.write()
}

// Write writes config.json anew.
func (b *Bundle) Write(t testing.TB) {
	t.Helper()
	if err := b.write(); err != nil {
		t.Fatalf("bundle: %v", err)
	}
}

func (b *Bundle) write() error {
	data, err := json.MarshalIndent(b.Spec, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Dir, "config.json"), data, 0o644)
}

// Prefix begins the name of every container and cgroup of this test process,
// so that what it left behind can be told from other people's.
var Prefix = fmt.Sprintf("bt%d-", os.Getpid())

var counter atomic.Int64

// Name is a fresh name: Prefix, the word, a number.
func Name(word string) string {
	return fmt.Sprintf("%s%s%d", Prefix, word, counter.Add(1))
}
