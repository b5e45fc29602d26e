package container

import (
	"fmt"
	"os"
	"strings"
	"time"

	"berth/test/sample"
)

// configAttacks are in values that people and images give, and in files that berth
// reads of a container: V9, V12, V13.
func configAttacks() []attack {
	return []attack{
		{name: "V12-users-number", guard: "guard_off_ids", try: func(w *world) string {
			return usersNumber(w, "4294967296", "4294967295", "-1", "18446744073709551616", "0x0", "00x", "+0", " 0", "1000:4294967296", "4294967296:0", "0\n", "root\nroot")
		}, control: func(w *world) string { return usersNumber(w, "0") }},
		{name: "V12-images-users-number", guard: "guard_off_ids", try: func(w *world) string { return imagesUser(w, "4294967296") }, control: func(w *world) string { return imagesUser(w, "0") }},
		{name: "V12-label-of-ours", guard: "guard_off_labels", try: labelOfOurs},
		{name: "V12-line-in-a-value", try: func(w *world) string { return lineIn(w, "\n") }, control: func(w *world) string { return lineIn(w, "") }},
		{name: "V13-sysctl", try: sysctls, control: func(w *world) string { return sysctl(w, "net.ipv4.ip_default_ttl=33") }},
		{name: "V9-passwd-of-any-kind", try: func(w *world) string { return passwd(w, true) }, control: func(w *world) string { return passwd(w, false) }},
	}
}

// few are some of a list, and all of it in a sweep.
func few(w *world, count int, list []string) []string {
	w.Helper()
	if sample.Whole() || len(list) <= count {
		return list
	}
	var some []string
	for _, i := range sample.Random(w.T, 2).Perm(len(list))[:count] {
		some = append(some, list[i])
	}
	return some
}

func usersNumber(w *world, users ...string) string {
	for _, u := range few(w, 3, users) {
		if o := w.once([]string{"-u", u}, "box", "id"); strings.HasPrefix(o.out, "uid=0") || o.code == 0 && strings.Contains(o.out, "gid=0") {
			return fmt.Sprintf("%q is %s", u, o)
		}
	}
	name := w.up()
	for _, u := range users {
		if o := w.try("exec", "-u", u, name, "id"); strings.HasPrefix(o.out, "uid=0") || o.code == 0 && strings.Contains(o.out, "gid=0") {
			return fmt.Sprintf("exec: %q is %s", u, o)
		}
	}
	return ""
}

func imagesUser(w *world, user string) string {
	image := fresh("overflow")
	c := w.cmd("import", "-q", "-c", "USER "+user, "-", image)
	c.Stdin = strings.NewReader(string(w.rootfs(nil)))
	if o := w.finish(c); o.code != 0 {
		return ""
	}
	if o := w.once(nil, image, "id", "-u"); o.out == "0" {
		return o.String()
	}
	return ""
}

// labelOfOurs: an image has a label of those by which berth steers itself.
func labelOfOurs(w *world) string {
	image := fresh("labelled")
	w.image(image, nil, "LABEL io.berth.order=obey theirs=kept")
	name := w.upOf("--network", "none", image)
	labels := w.ask(name, "{{json .Config.Labels}}")
	if !strings.Contains(labels, "theirs") {
		w.Errorf("the image's labels are not the container's: %s", labels)
	}
	if strings.Contains(labels, "io.berth.order") {
		return labels
	}
	return ""
}

// lineIn puts a newline and a line of ours into what becomes a line of a file; the
// control gives the same lines the proper way, or in the file itself.
func lineIn(w *world, newline string) string {
	var damage string
	check := func(o outcome) {
		for _, mark := range []string{"6.6.6.6", "evilroot:"} {
			if strings.Contains(o.out, "\n"+mark) || strings.HasPrefix(o.out, mark) {
				damage = o.String()
			}
		}
	}
	all := []string{"cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/passwd", "/etc/group"}
	if newline == "" {
		check(w.once([]string{"--add-host", "bank:6.6.6.6"}, append([]string{"box"}, all...)...))
		return damage
	}
	values := [][]string{
		{"--add-host", "a:1.2.3.4\n6.6.6.6 bank"}, {"--add-host", "a\n6.6.6.6 bank:1.2.3.4"}, {"--hostname", "a\n6.6.6.6 bank"}, {"--domainname", "a\n6.6.6.6 bank"},
		{"--dns-search", "a\n6.6.6.6"}, {"--dns-option", "a\n6.6.6.6"}, {"--dns", "1.2.3.4\n6.6.6.6"}, {"-u", "12345", "-e", "HOME=/\nevilroot::0:0::/:/bin/sh"},
		{"-u", "12345", "-w", "/tmp\nevilroot::0:0::/:/bin/sh"}, {"--network-alias", "a\n6.6.6.6 bank"},
	}
	for _, options := range values {
		check(w.once(options, append([]string{"box"}, all...)...))
	}
	return damage
}

// sysctls of the host, and ways to write one's own that lead there.
func sysctls(w *world) string {
	for _, s := range []string{
		"kernel.core_pattern=|/evil", "kernel.panic=99", "vm.swappiness=99", "fs.file-max=99999", "kernel.modprobe=/evil", "kernel.sysrq=511", "kernel/panic=99",
		"net.ipv4.../../../kernel/panic=99", "net/../kernel/panic=99", "net.ipv4.ip_default_ttl/../../../kernel/panic=99", "net.ipv4.ip_default_ttl=33\nkernel.panic=99", "user.max_user_namespaces=9",
	} {
		if damage := sysctl(w, s); damage != "" {
			return damage
		}
	}
	for _, options := range [][]string{{"--network=host", "--sysctl", "net.ipv4.ip_default_ttl=33"}, {"--ipc=host", "--sysctl", "kernel.msgmax=9999"}, {"--uts=host", "--sysctl", "kernel.domainname=evil"}} {
		words := append([]string{"run", "--rm"}, options...)
		if o := w.try(append(words, "box", "true")...); o.code == 0 {
			return fmt.Sprintf("%v was taken", options)
		}
	}
	return ""
}

func sysctl(w *world, setting string) string {
	before, err := os.ReadFile("/proc/sys/kernel/panic")
	if err != nil {
		w.Fatal(err)
	}
	if o := w.once([]string{"--sysctl", setting}, "box", "true"); o.code == 0 {
		return fmt.Sprintf("%q was taken", setting)
	}
	if after, err := os.ReadFile("/proc/sys/kernel/panic"); err != nil || string(after) != string(before) {
		return fmt.Sprintf("kernel.panic was %s, is %s", before, after)
	}
	return ""
}

// passwd has names looked up in files of all kinds. Whatever they are, the answer
// comes soon, and nobody is root by them.
func passwd(w *world, hostile bool) string {
	name := w.up()
	if !hostile {
		return w.try("exec", "-u", "user:user", name, "id").out
	}
	for _, make := range few(w, 3, []string{
		"truncate -s 20G $f", "mkfifo $f", "ln -s /dev/zero $f", "ln -s /proc/1/mem $f", "ln -s $f $f", "mkdir $f", "mknod $f c 1 5",
		"head -c 30000000 /dev/zero >$f", "yes 'user:x:0:0:/:/:' | head -c 20000000 | sed 's/user/other/' >$f",
	}) {
		for _, f := range []string{"/etc/passwd", "/etc/group"} {
			w.in(name, "sh", "-c", "f="+f+"; mv $f /etc/kept; "+make)
			o := w.try("exec", "-u", "user:user", name, "id")
			if o.took > 30*time.Second {
				return fmt.Sprintf("%s: %s took %s", make, f, o.took)
			}
			if strings.HasPrefix(o.out, "uid=0") || strings.Contains(o.errors, "panic") || strings.Count(o.errors, "\n") > 1 {
				return fmt.Sprintf("%s: %s: %s", make, f, o)
			}
			w.in(name, "sh", "-c", "rm -rf "+f+"; mv /etc/kept "+f)
		}
	}
	return ""
}
