package container

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/test/account"
	"berth/test/bundle"
)

// hostAttacks are by another user of the host, and on what is installed: V20, V22,
// V28, V29.
func hostAttacks() []attack {
	return []attack{
		{name: "V20-monitor-of-another-user", guard: "guard_off_modes,guard_off_peer", try: func(w *world) string { return held(w, stranger, 8, 0) }},
		{name: "V22-folders-of-the-store", guard: "guard_off_modes", try: func(w *world) string { return folders(w, stranger) }, control: func(w *world) string { return folders(w, account.Alone(0)) }},
		{name: "V28-flood-by-another-user", guard: "guard_off_modes", try: func(w *world) string { return flooded(w, stranger) }, control: func(w *world) string { return flooded(w, account.Alone(0)) }},
		{name: "V28-callers-without-end", guard: "guard_off_conns", try: func(w *world) string { return held(w, account.Alone(0), 600, 256) }},
		{name: "V28-flood-ends", try: floodEnds, control: func(w *world) string { return flooded(w, account.Alone(0)) }},
		{name: "V29-setuid-programs", try: func(w *world) string { return installed(w, "") }, control: func(w *world) string { return installed(w, "setuid") }},
		{name: "V29-file-capabilities", try: func(w *world) string { return installed(w, "") }, control: func(w *world) string { return installed(w, "capability") }},
	}
}

// stranger is a user whom no file of the host knows.
var stranger = account.Alone(64876)

// as runs a program of the host as a user.
func (w *world) as(who account.Account, stdin string, words ...string) outcome {
	w.Helper()
	program, err := account.Copy(words[0], w.TempDir())
	if err != nil {
		w.Fatal(err)
	}
	c := exec.Command(program, words[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: who.Credential()}
	c.Stdin, c.Dir = strings.NewReader(stdin), "/"
	return w.finish(c)
}

// folders has a user open every file of the store and the run folder by its path.
func folders(w *world, who account.Account) string {
	name := w.up()
	w.in(name, "sh", "-c", "cp /intruder /tmp/setuid; chmod 4755 /tmp/setuid; echo word >/tmp/readable")
	var all []string
	for _, dir := range []string{w.root, w.run} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != dir {
				all = append(all, path)
			}
			return nil
		})
	}
	if len(all) < 100 {
		w.Fatalf("the store has %d files only", len(all))
	}
	o := w.as(who, strings.Join(all, "\n"), w.intruder(), "reach")
	if o.out != "" {
		return o.out
	}
	return ""
}

// flooded has a user open connections to a monitor's socket.
func flooded(w *world, who account.Account) string {
	w.up()
	if o := w.as(who, "", w.intruder(), "flood", w.sockets()[0], "400"); !strings.HasPrefix(o.out, "0 ") && o.out != "EACCES" {
		return o.out + " connections"
	}
	return ""
}

// held has a user keep connections to a monitor open, of which it is to have no more
// than so many.
func held(w *world, who account.Account, count, most int) string {
	w.up()
	o := w.as(who, "", w.intruder(), "hold", w.sockets()[0], strconv.Itoa(count))
	n, err := strconv.Atoi(o.out)
	if err != nil {
		w.Fatalf("hold: %s", o)
	}
	if n > most {
		return fmt.Sprintf("%d connections are served", n)
	}
	return ""
}

// floodEnds: root's flood is bounded, and the container is served again afterwards.
func floodEnds(w *world) string {
	name := w.up()
	o := w.as(account.Alone(0), "", w.intruder(), "flood", w.sockets()[0], "2000")
	if o.code != 0 {
		w.Fatalf("flood: %s", o)
	}
	if e := w.in(name, "echo", "alive"); e.out != "alive" {
		return fmt.Sprintf("after %s: %s", o.out, e)
	}
	return ""
}

// installed looks at what make install puts down.
func installed(w *world, spoil string) string {
	repository, err := bundle.Repository()
	if err != nil {
		w.Fatal(err)
	}
	dest := w.TempDir()
	c := exec.Command("make", "--no-print-directory", "-o", "all", "install", "DESTDIR="+dest, "LINKS=docker podman")
	c.Dir = repository
	if o := w.finish(c); o.code != 0 {
		w.Fatalf("install: %s", o)
	}
	program := filepath.Join(dest, "usr/local/bin/berth")
	switch spoil {
	case "setuid":
		err = os.Chmod(program, 0o755|fs.ModeSetuid)
	case "capability":
		err = unix.Setxattr(program, "security.capability", []byte{1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
	}
	if err != nil {
		w.Fatal(err)
	}
	found, files := "", 0
	err = filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dest {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || st.Mode()&fs.ModeSymlink == 0 && st.Mode().Perm()&0o022 != 0 {
			found = path + " has mode " + st.Mode().String()
		}
		if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil && n > 0 {
			found = path + " has capabilities"
		}
		return nil
	})
	if err != nil || files < 5 {
		w.Fatalf("%d files are installed: %v", files, err)
	}
	return found
}
