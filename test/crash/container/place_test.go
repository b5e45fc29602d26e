package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/test/berth"
)

// place is a store that is used again and again: what a disturbed verb leaves in
// it would be seen.
type place struct {
	*berth.Berth
	links []string // of the network that it is in, when nothing runs
}

func newPlace(dir string) (*place, error) {
	b, err := berth.Make(dir)
	if err != nil {
		return nil, err
	}
	p := &place{Berth: b}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("lo: %w: %s", err, out)
	}
	// Once, so that the image and the bridge are there.
	if err := p.Do("run", "--rm", "berth/base", "true").Err(); err != nil {
		return nil, errors.Join(err, b.Remove())
	}
	p.links, err = links()
	return p, err
}

func (p *place) remove() error {
	_, err := p.Empty()
	return errors.Join(err, p.Remove())
}

func links() ([]string, error) {
	all, err := net.Interfaces()
	var out []string
	for _, i := range all {
		out = append(out, i.Name)
	}
	slices.Sort(out)
	return out, err
}

// clean looks for everything that a place without containers may not have. What
// follows an exit is done by others, so it gets some time.
func (p *place) clean() error {
	// An anonymous volume whose container was never written down is prune's; what a
	// removal had begun to unlink is check's, or the next boot's.
	for _, words := range [][]string{{"volume", "prune", "-f"}, {"check", "--repair", "-q"}} {
		if r := p.Do(words...); r.Code != 0 || r.Errors != "" {
			return fmt.Errorf("%s", r)
		}
	}
	var err error
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = p.look(); err == nil || time.Now().After(end) {
			break
		}
	}
	if r := p.Do("check"); r.Code != 0 || r.Errors != "" {
		err = errors.Join(err, fmt.Errorf("%s", r))
	}
	return err
}

func (p *place) look() error {
	if r := p.Do("ps", "-aq"); r.Code != 0 || r.Out != "" || r.Errors != "" {
		return fmt.Errorf("%s", r)
	}
	var left []string
	for _, pattern := range []string{
		p.Root() + "/containers/d/*", p.Root() + "/containers/names/*", p.Root() + "/volumes/*/_data", p.Root() + "/volumes/.stage-*", p.Run + "/containers/[0-9a-f]*", p.Run + "/oci/*",
		p.Run + "/ids/[0-9a-f]*", p.Run + "/network/endpoints/*", p.Run + "/network/addresses/*/*", p.Run + "/locks/containers/[0-9a-f]*", p.Root() + "/snapshots/active/*",
	} {
		found, _ := filepath.Glob(pattern)
		left = append(left, found...)
	}
	left = slices.DeleteFunc(left, p.halfRemoved())
	left = append(left, p.Cgroups()...)
	left = append(left, p.processes()...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+p.Dir+"/") || strings.Contains(line, " "+p.Run+"/") {
			left = append(left, line)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind: %.1500q", left)
	}
	now, err := links()
	if err == nil && !slices.Equal(now, p.links) {
		err = fmt.Errorf("links are %q, were %q", now, p.links)
	}
	return err
}

// halfRemoved tells what belongs to a folder that was being made or removed when
// its verb died: it goes at the next boot, its name is free to take.
func (p *place) halfRemoved() func(string) bool {
	var halves []string
	for _, dir := range []string{p.Root() + "/containers/d/", p.Run + "/containers/"} {
		found, _ := filepath.Glob(dir + ".stage-*")
		for _, f := range found {
			halves = append(halves, f[strings.LastIndexByte(f, '-')+1:])
		}
	}
	return func(path string) bool {
		return len(halves) > 0 && strings.HasSuffix(path, "/containers/names/one") ||
			slices.ContainsFunc(halves, func(id string) bool { return strings.Contains(path, id) })
	}
}

// processes are those that have something of the place open, monitors above all.
func (p *place) processes() []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range all {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, p.Run+"/") && !strings.HasPrefix(to, p.Dir+"/") {
			continue
		}
		words := strings.Split(fd, "/")
		cmdline, _ := os.ReadFile("/proc/" + words[2] + "/cmdline")
		if strings.HasPrefix(words[2], fmt.Sprint(os.Getpid())) || len(cmdline) == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("process %s %q has %s", words[2], cmdline, to))
	}
	return out
}
