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
		a := attack{name: "V6-" + l.name + "-is-a-link", guard: l.guard, try: func(w *world) string { return linked(w, l, false) }}
		if l.guard == "" {
			a.control = func(w *world) string { return linked(w, l, true) }
		}
		all = append(all, a)
	}
	return append(all, attack{name: "V6-passwd-is-a-link", try: func(w *world) string { return passwdLinked(w) },
		control: func(w *world) string { return passwdLinked(w, "--userns=host") }})
}

// link is a place in an image that leads to the host's folder, and the options that
// have berth write or mount there.
type link struct {
	name, path, to string // to is below the host's folder
	guard          string // "": the control is a container that is given the folder
	options        []string
	changes        []string
}

var links = []link{
	{name: "etc", path: "etc", guard: "guard_off_safepath"}, // hosts, hostname and resolv.conf are made there
	{name: "working-folder", path: "work", to: "/made", changes: []string{"WORKDIR /work/deep"}},
	{name: "volume", path: "data", guard: "guard_off_safepath", options: []string{"-v", "attackvolume:/data/in/it"}},
	{name: "images-volume", path: "data", guard: "guard_off_safepath", changes: []string{"VOLUME /data/in"}},
	{name: "tmpfs", path: "t", guard: "guard_off_safepath", options: []string{"--tmpfs", "/t/in"}},
	{name: "secrets", path: "run", guard: "guard_off_safepath", options: []string{"--secret", "attacksecret"}},
}

// linked runs an image with such a link, by an absolute and by a long relative path.
// With the host's users there is only the resolving of paths between the link and the
// host. The control gives the container the host's folder, where the link leads then.
func linked(w *world, l link, given bool) string {
	c := w.canary()
	cmd := w.cmd("secret", "create", "--replace", "attacksecret", "-")
	cmd.Stdin = strings.NewReader("word")
	if o := w.finish(cmd); o.code != 0 {
		w.Fatalf("secret: %s", o)
	}
	defer w.try("volume", "rm", "-f", "attackvolume")
	for _, how := range []struct{ prefix, users string }{{"", "private"}, {"../../../../../../../..", "host"}, {"", "host"}} {
		image := fresh("linked")
		w.bare(image, []entry{{name: l.path, link: how.prefix + c.dir + l.to}}, l.changes...)
		options := append([]string{"run", "--rm", "--network", "bridge", "--userns", how.users}, l.options...)
		if given {
			options = append(options, "-v", c.dir+":"+c.dir)
		}
		w.try(append(options, image, "/none")...) // there is no such program
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	return ""
}

// passwdLinked: names of users come from the image's file, not the host's.
func passwdLinked(w *world, options ...string) string {
	c := w.canary()
	name, image := "hostsuser", fresh("passwd")
	if err := os.WriteFile(filepath.Join(c.dir, "passwd"), []byte(name+":x:4321:4321::/:/bin/sh\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	w.image(image, []entry{{name: "etc/passwd", link: c.dir + "/passwd"}})
	if len(options) > 0 { // the control has a file there
		options = []string{}
		w.image(image, []entry{{name: "etc/passwd", text: name + ":x:4321:4321::/:/bin/sh\n", mode: 0o644}})
	}
	if o := w.once(append(options, "-u", name), image, "id", "-u"); o.out == "4321" {
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
		err = os.Symlink(c.dir, filepath.Join(shared, "b"))
	}
	if err != nil {
		w.Fatal(err)
	}
	racer := w.up("-v", shared+":/s")
	defer w.try("rm", "-f", racer) // before the folder goes
	w.must("exec", "-d", racer, "sh", "-c", "while :; do /probe exchange /s/a /s/b 10; done")
	payload := w.TempDir()
	for range sample.Rounds(100) {
		options := []string{"--userns=host", "-v", shared + ":/s"}
		for range 12 {
			options = append(options, "-v", payload+":/s/a/"+fresh("new")+"/in")
		}
		w.once(options, "box", "/bin/true")
		if damage := c.changed(); damage != "" {
			return damage
		}
	}
	if err := unix.Access(filepath.Join(shared, "a"), unix.F_OK); err != nil {
		w.Fatal(err) // the racer lives on either name
	}
	return ""
}
