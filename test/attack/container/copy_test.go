package container

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"

	"berth/test/sample"
)

// copyAttacks are on who reads a container's files and processes: V7 and V14.
func copyAttacks() []attack {
	return []attack{
		{name: "V7-link-swapped-while-copied", try: func(w *world) string { return swappedCopy(w) },
			control: func(w *world) string {
				c := w.canary()
				return swappedCopyOf(w, c, "--userns=host", "-v", c.dir+":"+c.dir)
			}},
		// The user namespace is a wall of its own.
		{name: "V7-link-swapped-with-the-hosts-users", guard: "guard_off_safepath,guard_off_visitroot", try: func(w *world) string { return swappedCopy(w, "--userns=host") }},
		{name: "V7-programs-of-the-image", try: func(w *world) string { return fakes(w, false) }, control: func(w *world) string { return fakes(w, true) }},
	}
}

// swappedCopy exchanges a folder for a link to the host's while cp goes both ways.
func swappedCopy(w *world, options ...string) string {
	return swappedCopyOf(w, w.canary(), options...)
}

func swappedCopyOf(w *world, c canary, options ...string) string {
	name := w.up(options...)
	w.in(name, "sh", "-c", "mkdir /tmp/a; echo mine >/tmp/a/secret; ln -s ../../../../.."+c.dir+" /tmp/b")
	w.must("exec", "-d", name, "sh", "-c", "while :; do /probe exchange /tmp/a /tmp/b 10; done")
	mine := filepath.Join(w.TempDir(), "secret")
	if err := os.WriteFile(mine, []byte("changed"), 0o644); err != nil {
		w.Fatal(err)
	}
	for range sample.Rounds(80) {
		w.try("cp", mine, name+":/tmp/a/secret")
		w.try("cp", mine, name+":/tmp/a")
		to := w.TempDir()
		w.try("cp", name+":/tmp/a/secret", to+"/one")
		w.try("cp", name+":/tmp", to+"/all")
		for _, words := range [][]string{{"ps", "-s"}, {"diff", name}, {"export", "-o", to + "/all.tar", name}} {
			if o := w.try(words...); o.code != 0 {
				w.Errorf("a container that changes its files has broken %v: %s", words, o)
			}
		}
		if found := contains(to, secret); found != "" {
			return "the host's file came out: " + found
		}
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}

// contains names a file below dir that has the text.
func contains(dir, text string) (found string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text) {
				found = path
			}
		}
		return nil
	})
	return found
}

// fakes is an image full of programs that others have been made to run, and of the
// library by which names are looked up; each leaves a mark. What looks at a container
// from outside must start none of them.
func fakes(w *world, run bool) string {
	var entries []entry
	for _, dir := range []string{"usr/bin", "sbin", "usr/local/bin"} {
		for _, name := range strings.Fields("xz unxz gzip gunzip unpigz pigz zstd bzip2 tar git ps top nsenter mount umount ip iptables nft newuidmap id getent sh.real") {
			entries = append(entries, entry{name: dir + "/" + name, text: "#!/bin/busybox sh\necho $0 >>/ran\n", mode: 0o755})
		}
	}
	for _, name := range []string{"lib/x86_64-linux-gnu/libnss_files.so.2", "lib/libnss_files.so.2", "lib/evil.so", "etc/ld.so.preload"} {
		entries = append(entries, entry{name: name, text: "/lib/evil.so\n", mode: 0o644})
	}
	image := fresh("fakes")
	w.image(image, entries, "ENV PATH=/usr/local/bin:/usr/bin:/sbin:/bin LD_PRELOAD=/lib/evil.so LD_LIBRARY_PATH=/lib GCONV_PATH=/lib", "USER user")
	name := w.upOf("--network", "none", image)
	if run {
		w.must("exec", "-u", "0", name, "xz")
	}
	w.in(name, "/bin/touch", "/tmp/file")
	dir := w.TempDir()
	for _, words := range [][]string{
		{"cp", name + ":/etc", dir + "/etc"}, {"cp", dir + "/etc", name + ":/tmp"}, {"top", name}, {"top", name, "aux"}, {"stats", "--no-stream", name},
		{"export", "-o", dir + "/all.tar", name}, {"diff", name}, {"commit", name, fresh("committed")}, {"save", "-o", dir + "/image.tar", image},
		{"cp", "-a", name + ":/usr/bin/xz", dir + "/xz"}, {"inspect", "-s", name}, {"ps", "-s"}, {"logs", name}, {"pause", name}, {"unpause", name}, {"stop", "-t", "0", name}, {"start", name},
	} {
		if o := w.try(words...); o.code != 0 && words[0] != "top" && words[0] != "pause" && words[0] != "unpause" {
			w.Errorf("%v: %s", words, o)
		}
	}
	cmd := w.cmd("cp", "-", name+":/tmp")
	cmd.Stdin = bytes.NewReader(zipped(w))
	w.finish(cmd)
	if o := w.try("cp", name+":/ran", dir+"/ran"); o.code == 0 {
		text, _ := os.ReadFile(dir + "/ran")
		return "programs of the image were run: " + string(text)
	}
	return ""
}

// zipped is a tar, compressed, which cp reads from standard input.
func zipped(w *world) []byte {
	w.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	err := t.WriteHeader(&tar.Header{Name: "new", Size: 4, Mode: 0o644})
	if err == nil {
		_, err = t.Write([]byte("text"))
	}
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		w.Fatal(err)
	}
	return b.Bytes()
}
