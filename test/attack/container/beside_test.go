package container

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"berth/test/bundle"
)

// besideAttacks are by one container on another, and on what the host serves: V20,
// V23, V31 and plain reach.
func besideAttacks() []attack {
	return []attack{
		{name: "V23-key-of-another", try: func(w *world) string { return keyOfAnother(w) }, control: keyOfOneself},
		{name: "V23-key-of-another-with-the-hosts-users", try: func(w *world) string { return keyOfAnother(w, "--userns=host") }, control: keyOfOneself},
		{name: "V20-abstract-socket", try: func(w *world) string { return abstract(w) },
			control: func(w *world) string { return abstract(w, "--network=host") }},
		{name: "V20-sockets-in-reach", try: func(w *world) string { return socketsInReach(w) },
			control: func(w *world) string { return socketsInReach(w, "--userns=host", "-v", w.run+":"+w.run) }},
		{name: "V31-same-ids", guard: "guard_off_idrange", try: func(w *world) string { return sameIDs(w) }, control: func(w *world) string { return sameIDs(w, "--userns=host") }},
		{name: "V31-layers-of-another", try: func(w *world) string { return layersOfAnother(w) },
			control: func(w *world) string { return layersOfAnother(w, "--userns=host", "-v", w.root+":"+w.root) }},
		{name: "reach-processes", try: func(w *world) string { return processesOfAnother(w) },
			control: func(w *world) string { return processesOfAnother(w, "--pid") }},
		{name: "reach-memory", try: func(w *world) string { return memoryOfAnother(w) },
			control: func(w *world) string { return memoryOfAnother(w, "--ipc") }},
	}
}

// keyOfAnother looks for a key in another container's session, by name and number.
func keyOfAnother(w *world, options ...string) string {
	options = append(options, open...)
	one, other := w.up(options...), w.up(options...)
	key := bundle.Name("key")
	number, end := w.keepKey(one, key)
	defer end()
	return w.in(other, "/intruder", "key-find", key, number).out
}

// keyOfOneself is found.
func keyOfOneself(w *world) string {
	key := bundle.Name("key")
	return w.once(open, "box", "sh", "-c", "/intruder key-add "+key+" >/tmp/key & until [ -s /tmp/key ]; do usleep 10000; done; /intruder key-find "+key+" $(cat /tmp/key)").out
}

// keepKey has a program keep a key in its session until the end.
func (w *world) keepKey(name, key string) (number string, end func()) {
	w.Helper()
	c := w.cmd("exec", name, "/intruder", "key-add", key)
	r, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		w.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if _, bad := strconv.Atoi(strings.TrimSpace(line)); err != nil || bad != nil {
		w.Fatalf("no key: %q %v", line, err)
	}
	return strings.TrimSpace(line), func() { _ = c.Process.Kill(); _ = c.Wait() }
}

// abstract: a socket without a file is the network's, and a container has another.
func abstract(w *world, options ...string) string {
	name := "@" + bundle.Name("attack")
	l, err := net.Listen("unix", name)
	if err != nil {
		w.Fatal(err)
	}
	defer l.Close()
	if len(options) == 0 {
		options = []string{"--network=none"}
	}
	o := w.try(append(append([]string{"run", "--rm"}, options...), "box", "/intruder", "dial", "unix", name)...)
	if o.out == "open" {
		return "the host's abstract socket answered"
	}
	return ""
}

// socketsInReach tries each socket that the run folder has, by its path on the host.
func socketsInReach(w *world, options ...string) string {
	w.up()
	sockets := w.sockets()
	if len(sockets) == 0 {
		w.Fatal("no monitor has a socket")
	}
	name := w.up(options...)
	for _, s := range sockets {
		if o := w.in(name, "/intruder", "dial", "unixpacket", s); o.out == "open" {
			return "the monitor's socket answered"
		}
	}
	listening := w.in(name, "cat", "/proc/net/unix").out
	if len(options) == 0 && strings.Count(listening, "\n") > 0 {
		return "sockets are seen: " + listening
	}
	return ""
}

func (w *world) sockets() []string {
	w.Helper()
	var all []string
	err := filepath.WalkDir(w.run, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSocket {
			all = append(all, path)
		}
		return nil // what goes meanwhile is none
	})
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// sameIDs: no id of the host is in two containers.
func sameIDs(w *world, options ...string) string {
	var ends [2][2]uint64
	for i := range ends {
		name := w.up(options...)
		for _, file := range []string{"uid_map", "gid_map"} {
			f := strings.Fields(w.in(name, "cat", "/proc/self/"+file).out)
			if len(f) != 3 {
				w.Fatalf("%s: %q", file, f)
			}
			first, err1 := strconv.ParseUint(f[1], 10, 64)
			count, err2 := strconv.ParseUint(f[2], 10, 64)
			if err1 != nil || err2 != nil || first == 0 && len(options) == 0 {
				return fmt.Sprintf("%s %q", file, f)
			}
			ends[i] = [2]uint64{first, first + count}
		}
	}
	if ends[0][0] < ends[1][1] && ends[1][0] < ends[0][1] {
		return fmt.Sprintf("the ids %d", ends)
	}
	return ""
}

// layersOfAnother looks for a file of another container where the store has it.
func layersOfAnother(w *world, options ...string) string {
	one, other := w.up(), w.up(options...)
	w.in(one, "sh", "-c", "echo 'of the first container' >/marker")
	o := w.in(other, "sh", "-c", "cat $(find "+w.root+" /proc/1/root /proc/[0-9]*/root -maxdepth 6 -name marker 2>/dev/null) </dev/null")
	if strings.Contains(o.out, "of the first container") {
		return o.out
	}
	return ""
}

// sharing starts one that shares namespaces with another.
func (w *world) sharing(one string, flags []string) string {
	w.Helper()
	var options []string
	for _, f := range flags {
		options = append(options, f+"=container:"+one)
	}
	return w.up(options...)
}

// processesOfAnother names, signals, traces and looks into another's processes, by the
// numbers that they have on the host and by those that can be seen.
func processesOfAnother(w *world, shared ...string) string {
	one := w.up("-e", "WORD=of-the-first")
	other := w.sharing(one, shared)
	pid := w.ask(one, "{{.State.Pid}}")
	o := w.in(other, "sh", "-c", `for p in `+pid+` $(ls /proc | grep '^[0-9]*$'); do
		grep -q of-the-first /proc/$p/environ && kill -0 $p && cat /proc/$p/root/etc/passwd && /intruder trace $p && echo reached $p
		done 2>/dev/null`)
	if strings.Contains(o.out, "reached") {
		return o.out
	}
	if w.in(other, "kill", "-9", pid).code == 0 {
		return "the other was killed"
	}
	return ""
}

// memoryOfAnother looks for what another shares within itself.
func memoryOfAnother(w *world, shared ...string) string {
	one := w.up("--ipc=shareable")
	w.in(one, "sh", "-c", "echo of the first >/dev/shm/word; ls /dev/mqueue")
	other := w.sharing(one, shared)
	if o := w.in(other, "cat", "/dev/shm/word"); o.code == 0 {
		return o.out
	}
	return ""
}
