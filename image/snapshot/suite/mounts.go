package suite

import (
	"fmt"
	"os"
	"time"

	"berth/image/snapshot"

	"golang.org/x/sys/unix"
)

// readThrough reads one, two and no layers through views and actives.
func readThrough(b *bench) {
	b.layer("one", "", func(dir string) { b.write(dir, "a", "1"); b.write(dir, "d/x", "1") })
	b.layer("two", "one", func(dir string) { b.write(dir, "d/x", "2"); b.write(dir, "d/y", "2") })
	view := func(key, parent string) func() ([]snapshot.Mount, error) {
		return func() ([]snapshot.Mount, error) { return b.View(b.ctx, key, parent) }
	}
	for name, want := range map[string][]string{"": nil, "one": {"a=1", "d/", "d/x=1"}, "two": {"a=1", "d/", "d/x=2", "d/y=2"}} {
		mounts, err := view("view of "+name, name)()
		b.look(mounts, err, func(dir string) {
			b.sees(dir, want...)
			if err := os.WriteFile(dir+"/new", nil, 0o600); err == nil {
				b.Errorf("a view of %q can be written to", name)
			}
		})
		mounts, err = b.Prepare(b.ctx, "box of "+name, name)
		b.look(mounts, err, func(dir string) {
			b.sees(dir, want...)
			b.write(dir, "new", "n")
		})
		mounts, err = b.other.Mounts(b.ctx, "box of "+name)
		b.look(mounts, err, func(dir string) { b.sees(dir, append(want, "new=n")...) })
		mounts, err = b.other.Mounts(b.ctx, "view of "+name)
		b.look(mounts, err, func(dir string) { b.sees(dir, want...) })
	}
}

// whiteouts holds that layers are in overlay's form.
func whiteouts(b *bench) {
	b.layer("one", "", func(dir string) {
		b.write(dir, "gone", "1")
		b.write(dir, "tree/x", "1")
		b.write(dir, "opaque/old", "1")
		b.write(dir, "merged/old", "1")
	})
	b.layer("two", "one", func(dir string) {
		b.ok(unix.Mknod(dir+"/gone", unix.S_IFCHR|0o600, 0))
		b.ok(unix.Mknod(dir+"/tree", unix.S_IFCHR|0o600, 0))
		b.write(dir, "opaque/new", "2")
		b.ok(unix.Setxattr(dir+"/opaque", b.OpaqueXattr(), []byte("y"), 0))
		b.write(dir, "merged/new", "2")
	})
	want := []string{"opaque/", "opaque/new=2", "merged/", "merged/new=2", "merged/old=1"}
	mounts, err := b.View(b.ctx, "v", "two")
	b.look(mounts, err, func(dir string) { b.sees(dir, want...) })
	b.layer("three", "two", func(dir string) { b.write(dir, "gone", "3") })
	mounts, err = b.Prepare(b.ctx, "box", "three")
	b.look(mounts, err, func(dir string) { b.sees(dir, append(want, "gone=3")...) })
}

// faithful holds that a layer keeps what a file is, not only what is in it.
func faithful(b *bench) {
	b.layer("one", "", func(dir string) {
		b.write(dir, "a", "1")
		b.ok(os.Link(dir+"/a", dir+"/hard link"))
		b.ok(os.Symlink("/no/where", dir+"/link"))
		b.ok(unix.Mkfifo(dir+"/fifo", 0o640))
		b.write(dir, "bad\xffname", "1")
		b.write(dir, "tool", "1")
		b.ok(os.Truncate(dir+"/tool", 3<<30)) // a hole; takes rights away
		b.ok(unix.Chmod(dir+"/tool", 0o4751))
		b.ok(unix.Setxattr(dir+"/a", "user.x", []byte("val\x00ue"), 0))
		b.ok(unix.Setxattr(dir+"/tool", "security.capability", netRaw, 0))
		b.ok(os.Chtimes(dir+"/a", time.Unix(1, 2), time.Unix(-3, 456789012)))
	})
	b.layer("two", "one", func(dir string) { b.write(dir, "z", "2") })
	mounts, err := b.View(b.ctx, "v", "two")
	b.look(mounts, err, func(dir string) {
		var a, hard, tool unix.Stat_t
		b.ok(unix.Lstat(dir+"/a", &a))
		b.ok(unix.Lstat(dir+"/hard link", &hard))
		b.ok(unix.Lstat(dir+"/tool", &tool))
		if a.Ino != hard.Ino || a.Nlink != 2 {
			b.Errorf("a hard link is inode %d, not %d; %d links", hard.Ino, a.Ino, a.Nlink)
		}
		if a.Mtim != (unix.Timespec{Sec: -3, Nsec: 456789012}) {
			b.Errorf("mtime %+v", a.Mtim)
		}
		if tool.Mode != unix.S_IFREG|0o4751 || tool.Size != 3<<30 || tool.Blocks > 64 {
			b.Errorf("mode %o, size %d, %d blocks", tool.Mode, tool.Size, tool.Blocks)
		}
		buf := make([]byte, 64)
		if n, err := unix.Getxattr(dir+"/a", "user.x", buf); err != nil || string(buf[:n]) != "val\x00ue" {
			b.Errorf("xattr %q, %v", buf[:max(n, 0)], err)
		}
		if n, err := unix.Getxattr(dir+"/tool", "security.capability", buf); err != nil || n < len(netRaw) {
			b.Errorf("capability: %d bytes, %v", n, err)
		}
		if to, err := os.Readlink(dir + "/link"); err != nil || to != "/no/where" {
			b.Errorf("a link to %q, %v", to, err)
		}
		if _, err := os.Stat(dir + "/bad\xffname"); err != nil {
			b.Error(err)
		}
	})
}

// netRaw is cap_net_raw+ep as in capabilities(7), version 2.
var netRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// rootFolder holds whose owner and mode the root has.
func rootFolder(b *bench) {
	b.layer("one", "", func(dir string) { b.ok(os.Chmod(dir, 0o700|os.ModeSticky)) })
	b.layer("two", "one", nil)
	f, err := b.PrepareLayer(b.ctx, "k")
	b.ok(err)
	b.ok(f.Chmod(0o750))
	f.Close()
	b.ok(b.CommitLayer(b.ctx, snapshot.Layer{Name: "three", Parent: "two", Key: "k", RootSet: true}))
	for name, want := range map[string]os.FileMode{"": 0o755, "one": 0o1700, "two": 0o1700, "three": 0o750} {
		for _, prepare := range []func(string) ([]snapshot.Mount, error){
			func(key string) ([]snapshot.Mount, error) { return b.Prepare(b.ctx, "box of "+key, name) },
			func(key string) ([]snapshot.Mount, error) { return b.View(b.ctx, "view of "+key, name) },
		} {
			mounts, err := prepare(name)
			b.look(mounts, err, func(dir string) {
				var st unix.Stat_t
				b.ok(unix.Stat(dir, &st))
				if got := os.FileMode(st.Mode & 0o7777); got != want {
					b.Errorf("the root on %q has mode %o, want %o", name, got, want)
				}
			})
		}
	}
}

// manyLayers mounts more layers than their paths fit into a page.
func manyLayers(b *bench) {
	const layers = 200
	parent := ""
	want := []string{"last=199"}
	for i := range layers {
		name := fmt.Sprintf("layer %d", i)
		b.layer(name, parent, func(dir string) {
			b.write(dir, fmt.Sprintf("file%d", i), "x")
			b.write(dir, "last", fmt.Sprint(i))
		})
		want = append(want, fmt.Sprintf("file%d=x", i))
		parent = name
	}
	mounts, err := b.Prepare(b.ctx, "box", parent)
	b.look(mounts, err, func(dir string) {
		b.sees(dir, want...)
		b.ok(os.Remove(dir + "/file0"))
		b.sees(dir, append(want[:1:1], want[2:]...)...)
	})
}

// writeAndCommit makes a layer by a mount, as a build does.
func writeAndCommit(b *bench) {
	b.layer("one", "", func(dir string) { b.write(dir, "d/x", "1"); b.write(dir, "y", "1") })
	mounts, err := b.Prepare(b.ctx, "box", "one")
	b.look(mounts, err, func(dir string) {
		b.ok(os.RemoveAll(dir + "/d"))
		b.write(dir, "d/z", "2")
		b.ok(os.Remove(dir + "/y"))
	})
	b.ok(b.Commit(b.ctx, "two", "box"))
	b.ok(b.Sync(b.ctx, "two"))
	mounts, err = b.View(b.ctx, "v", "two")
	b.look(mounts, err, func(dir string) { b.sees(dir, "d/", "d/z=2") })
	b.ok(b.Cleanup(b.ctx))
	mounts, err = b.other.Mounts(b.ctx, "v")
	b.look(mounts, err, func(dir string) { b.sees(dir, "d/", "d/z=2") })
}
