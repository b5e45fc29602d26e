package snapshot

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkBox prepares and removes a container's snapshot on ten layers.
func BenchmarkBox(b *testing.B) {
	o := open(b, b.TempDir(), LaterSync())
	parent := ""
	for i := range 10 {
		name := fmt.Sprint("c", i)
		layer(b, o, name, parent)
		parent = name
	}
	for b.Loop() {
		_, err := o.Prepare(b.Context(), "box", parent)
		must(b, err)
		must(b, o.Remove(b.Context(), "box"))
	}
}

// BenchmarkCommitLayer makes, commits and removes an empty layer.
func BenchmarkCommitLayer(b *testing.B) {
	for name, opts := range map[string][]Option{"durable": nil, "later": {LaterSync()}} {
		b.Run(name, func(b *testing.B) {
			o := open(b, b.TempDir(), opts...)
			for b.Loop() {
				layer(b, o, "c", "")
				must(b, o.Remove(b.Context(), "c"))
			}
		})
	}
}

// BenchmarkMountTree makes and drops the mount of 128 layers.
func BenchmarkMountTree(b *testing.B) {
	o := open(b, b.TempDir(), LaterSync())
	parent := ""
	for i := range 128 {
		name := fmt.Sprint("c", i)
		layer(b, o, name, parent)
		parent = name
	}
	_, err := o.Prepare(b.Context(), "box", parent)
	must(b, err)
	for b.Loop() {
		mounts, err := o.Mounts(b.Context(), "box")
		must(b, err)
		fd, err := MountTree(b.Context(), mounts)
		must(b, err)
		unix.Close(fd)
	}
}
