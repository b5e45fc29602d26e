package docker

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// cg prints a file of the cgroup that it runs in, on any layout.
const cg = `#!/bin/sh
for f in /sys/fs/cgroup/$1/$2 /sys/fs/cgroup/$3; do
	[ ! -e $f ] || exec cat $f
done
echo no $2
`

// rich is the configuration of the image of that name.
var rich = []string{
	"ENV FROM=image", "LABEL made=here", "VOLUME /data", "EXPOSE 80/tcp 53/udp", "WORKDIR /srv", "USER 7:8",
	`ENTRYPOINT ["/bin/echo","entry"]`, `CMD ["cmd"]`,
}

// rootfs is a tar of a small root file system.
func rootfs(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "mnt", "root", "srv", "data", "var"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, busybox)
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	add(tar.Header{Name: "bin/cg", Mode: 0o755}, []byte(cg))
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\ndaemon:x:1:\nstaff:x:50:daemon\n"))
	add(tar.Header{Name: "data/seed", Mode: 0o644}, []byte("seed\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// giveImages gives both sides the same two images.
func giveImages(t *testing.T, theirs, ours *side) {
	t.Helper()
	root := rootfs(t)
	theirs.must(t, root, "import", "-c", `CMD ["sh"]`, "-", "box")
	args := []string{"import"}
	for _, c := range rich {
		args = append(args, "-c", c)
	}
	theirs.must(t, root, append(args, "-", "rich")...)
	archive := theirs.must(t, nil, "save", "box", "rich")
	ours.must(t, []byte(archive), "load")
	images := map[string]bool{}
	for _, id := range strings.Fields(theirs.must(t, nil, "images", "-q")) {
		images[id] = true
	}
	theirs.images, ours.images = images, images
}
