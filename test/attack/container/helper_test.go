package container

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/test/sample"
)

// helperAttacks go for our program that enters a container, and for what it holds: V1
// and V2.
func helperAttacks() []attack {
	return []attack{
		{name: "V1-exec-is-hunted", guard: "guard_off_dumpable", try: func(w *world) string { return hunted(w, "trace", "--userns=host") }},
		{name: "V1-program-stays", try: func(w *world) string { return hunted(w, "quiet", everything...) }, control: huntedItself},
		{name: "V1-entrypoint-is-the-helper", try: func(w *world) string { return entrypoint(w, "/proc/self/exe") },
			control: func(w *world) string { return entrypoint(w, "/bin/true") }},
		{name: "V2-working-folder-outside", try: func(w *world) string { return folderOutside(w, "") },
			control: func(w *world) string { return folderOutside(w, "given") }},
		{name: "V2-working-folder-outside-exec", guard: "guard_off_cwdcheck", try: folderOutsideExec},
	}
}

// everything is what a container can be given but the host's processes and files.
var everything = []string{"--cap-add=ALL", "--security-opt", "seccomp=unconfined", "--userns=host"}

// huntedItself has the hunter find a program that is the container's own file, to see
// that it writes to what it can.
func huntedItself(w *world) (damage string) {
	name := w.up(everything...)
	for range 5 { // it has to meet one that has just ended
		if damage = huntedBy(w, name, "quiet", "/intruder", "euid"); damage != "" {
			break
		}
	}
	return damage
}

var huntLine = regexp.MustCompile(`seen (\d+) opened (\d+) listed (\d+) traced (\d+) written (\d+)`)

// hunted has a container's program go for every process that is not the container's,
// while execs come in.
func hunted(w *world, how string, options ...string) string {
	before := sum(w, w.bin)
	if damage := huntedBy(w, w.up(options...), how, "/bin/true"); damage != "" {
		return damage
	}
	if sum(w, w.bin) != before {
		return w.bin + " was changed"
	}
	return ""
}

func huntedBy(w *world, name, how string, words ...string) string {
	w.must("exec", "-d", name, "sh", "-c", "/probe hunt 2 "+how+" >/result")
	for end := time.Now().Add(1700 * time.Millisecond); time.Now().Before(end); {
		w.in(name, words...)
	}
	var m []string
	if !eventually(func() bool { m = huntLine.FindStringSubmatch(w.in(name, "cat", "/result").out); return m != nil }) {
		w.Fatal("the hunter says nothing")
	}
	w.Log(m[0])
	counts := make([]int, 5)
	for i := range counts {
		counts[i], _ = strconv.Atoi(m[i+1])
	}
	if counts[0] == 0 {
		w.Error("the hunter saw nobody: that proves nothing")
	}
	if how == "trace" && counts[1]+counts[2]+counts[3] > 0 || counts[4] > 0 {
		return m[0]
	}
	return ""
}

func sum(w *world, path string) string {
	w.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// entrypoint: a script whose interpreter is the program that starts it.
func entrypoint(w *world, interpreter string) string {
	before := sum(w, w.bin)
	image := fresh("self")
	w.image(image, []entry{{name: "self", text: "#!" + interpreter + "\n", mode: 0o755}}, `ENTRYPOINT ["/self"]`)
	if o := w.once(nil, image); o.code == 0 {
		return fmt.Sprintf("it ran: %s", o)
	}
	if sum(w, w.bin) != before {
		return w.bin + " was changed"
	}
	return ""
}

// numbers of descriptors that are tried: all in a sweep.
func descriptors(w *world, few int) []int {
	all := sample.Random(w.T, 24).Perm(24)
	if !sample.Whole() {
		all = all[:few]
	}
	return all
}

// folderOutside makes one of our descriptors the working folder.
func folderOutside(w *world, given string) string {
	c := w.canary()
	dir, err := os.Open(c.dir)
	if err != nil {
		w.Fatal(err)
	}
	defer dir.Close()
	for _, fd := range descriptors(w, 4) {
		options := []string{"run", "--rm", "--network", "none", "-w", fmt.Sprintf("/proc/self/fd/%d", fd)}
		if given != "" {
			options = []string{"run", "--rm", "--network", "none", "--userns=host", "-v", c.dir + ":/out", "-w", "/out"}
		}
		cmd := w.cmd(append(options, "box", "sh", "-c", "cat secret; cat ../../../../../../../.."+c.file())...)
		cmd.ExtraFiles = []*os.File{dir, dir, dir}
		if o := w.finish(cmd); strings.Contains(o.out, secret) {
			return o.String()
		}
	}
	return ""
}

func folderOutsideExec(w *world) string {
	c := w.canary()
	dir, err := os.Open(c.dir)
	if err != nil {
		w.Fatal(err)
	}
	defer dir.Close()
	name := w.up("--userns=host", "--security-opt", "systempaths=unconfined")
	for fd := range 24 { // few of them lead out
		for _, link := range few(w, 1, []string{"self", "thread-self"}) {
			cmd := w.cmd("exec", "-w", fmt.Sprintf("/proc/%s/fd/%d", link, fd), name, "sh", "-c", "pwd; cat secret; cat ../../../../../../../.."+c.file())
			cmd.ExtraFiles = []*os.File{dir, dir, dir}
			if o := w.finish(cmd); strings.Contains(o.out, secret) {
				return o.String()
			}
		}
	}
	return ""
}
