package gc_test

import (
	"fmt"
	"os"
	"testing"

	"berth/base/fault"
	"berth/image/gc"

	"golang.org/x/sys/unix"
)

// A disk without a free block, or without a free inode, still lets images be
// listed, unnamed and collected, and then takes new ones.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	for what, options := range map[string]string{"blocks": "size=2m", "inodes": "nr_inodes=400,size=16m"} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			if err := unix.Mount("tmpfs", root, "tmpfs", 0, options); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(root, unix.MNT_DETACH)
			s, err := open(root, false)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Content.Close()
			n := 0
			for ; err == nil; n++ {
				err = s.pull(makeSample(2*n, 50_000))
			}
			if !fault.Is(err, fault.NoSpace) || n < 2 {
				t.Fatalf("%d images, %v", n, err)
			}
			// Nothing at all is free.
			for k := 0; ; k++ {
				if os.WriteFile(fmt.Sprintf("%s/fill%d", root, k), make([]byte, 4096), 0o600) != nil {
					break
				}
			}
			named, err := s.Names.List(ctx)
			if err != nil || len(named) != n-1 {
				t.Fatalf("%d names of %d, %v", len(named), n-1, err)
			}
			for _, img := range named[1:] {
				if err := s.Names.Delete(ctx, img.Name); err != nil {
					t.Fatal(err)
				}
			}
			r, err := s.Collect(ctx, gc.Options{})
			if err != nil || r.Bytes == 0 {
				t.Fatalf("%+v %v", r, err)
			}
			found, err := s.Check(ctx, gc.CheckOptions{Repair: true})
			if err != nil {
				t.Error(err)
			}
			for _, f := range found {
				if f.Harm {
					t.Errorf("%+v", f)
				}
			}
			if err := s.pull(makeSample(1001, 1000)); err != nil {
				t.Error(err)
			}
		})
	}
}

// BenchmarkCollectThousand: a thousand images of three blobs each, all named.
func BenchmarkCollectThousand(b *testing.B) {
	s, err := open(b.TempDir(), true)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Content.Close()
	for n := range 1000 {
		i := makeSample(2*n, 20)
		for _, blob := range i.blobs {
			if err := s.fetch(blob, false); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := s.Names.Create(ctx, imageOf(i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if r, err := s.Collect(ctx, gc.Options{}); err != nil || len(r.Freed) != 0 {
			b.Fatal(r, err)
		}
	}
}
