package container

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/test/sample"
)

// pathAttacks lay links where berth mounts and writes: V4, V5, V6.
func pathAttacks() []attack {
	all := []attack{{name: "V5-target-swapped", guard: "guard_off_safepath", try: targetSwapped}}
	for _, l := range links {
		all = append(all, attack{name: "V6-" + l.name + "-is-a-link", try: func(w *world) string { return linked(w, l, false) },
			control: func(w *world) string { return linked(w, l, true) }})
	}
	return append(all, attack{name: "V6-passwd-is-a-link", try: func(w *world) string { return passwdLinked(w) },
		control: func(w *world) string { return passwdLinked(w, "--userns=host") }})
}

// link is a place in an image that leads to the host's folder, and the options that
// have berth write or mount there.
type link struct {
	name, path, to string // to is below the host's folder
	options        []string
	changes        []string
}

var links = []link{
	{name: "hosts", path: "etc/hosts", to: "/hosts"},
	{name: "resolv.conf", path: "etc/resolv.conf", to: "/resolv"},
	{name: "hostname", path: "etc/hostname", to: "/name"},
	{name: "etc", path: "etc", to: ""},
	{name: "working-folder", path: "work", to: "/made", changes: []string{"WORKDIR /work/deep"}},
	{name: "volume", path: "data", to: "/data", changes: []string{"VOLUME /data"}},
	{name: "volume-below", path: "data", to: "", options: []string{"-v", "attackvolume:/data/in/it"}},
	{name: "tmpfs", path: "t", to: "/t", options: []string{"--tmpfs", "/t/in"}},
	{name: "secrets", path: "run", to: "", options: []string{"--secret", "attacksecret"}},
}

// linked runs an image with such a link, by an absolute and by a long relative path.
// The control gives the container the host's folder, where the link leads then.
func linked(w *world, l link, given bool) string {
	c := w.canary()
	cmd := w.cmd("secret", "create", "--replace", "attacksecret", "-")
	cmd.Stdin = strings.NewReader("word")
	if o := w.finish(cmd); o.code != 0 {
		w.Fatalf("secret: %s", o)
	}
	defer w.try("volume", "rm", "-f", "attackvolume")
	for _, prefix := range []string{"", "../../../../../../../.."} {
		w.bare("linked", []entry{{name: l.path, link: prefix + c.dir + l.to}}, l.changes...)
		options := append([]string{"run", "--rm", "--network", w.defaultNetwork()}, l.options...)
		if given {
			options = append(options, "--userns=host", "-v", c.dir+":"+c.dir)
		}
		w.try(append(options, "linked", "/none")...) // there is no such program
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}

// passwdLinked: names of users come from the image's file, not the host's.
func passwdLinked(w *world, options ...string) string {
	c := w.canary()
	name := "hostsuser"
	if err := os.WriteFile(filepath.Join(c.dir, "passwd"), []byte(name+":x:4321:4321::/:/bin/sh\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	w.image("passwd", []entry{{name: "etc/passwd", link: c.dir + "/passwd"}})
	if len(options) > 0 { // the control has a file there
		options = []string{}
		w.image("passwd", []entry{{name: "etc/passwd", text: name + ":x:4321:4321::/:/bin/sh\n", mode: 0o644}})
	}
	if o := w.once(append(options, "-u", name), "passwd", "id", "-u"); o.out == "4321" {
		return o.String()
	}
	return ""
}

// targetSwapped: a container exchanges a folder of a volume for a link to the host's
// while others are started that have a mount below it.
func targetSwapped(w *world) string {
	c := w.canary()
	shared, err := filepath.EvalSymlinks(w.TempDir())
	if err == nil {
		err = os.Mkdir(filepath.Join(shared, "a"), 0o755)
	}
	if err == nil {
		err = os.Symlink("../../../../../../../.."+c.dir, filepath.Join(shared, "b"))
	}
	if err != nil {
		w.Fatal(err)
	}
	racer := w.up("-v", shared+":/s")
	w.must("exec", "-d", racer, "sh", "-c", "while :; do /probe exchange /s/a /s/b 10; done")
	payload := w.TempDir()
	for range sample.Rounds(300) {
		w.once([]string{"-v", shared + ":/s", "-v", payload + ":/s/a/in"}, "box", "/bin/true")
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	if err := unix.Access(filepath.Join(shared, "a"), unix.F_OK); err != nil {
		w.Fatal(err) // the racer lives on either name
	}
	return ""
}
