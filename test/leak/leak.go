// Package leak lists what a container engine could leave behind, before and
// after, and tells the difference: mounts of all processes, network links,
// namespaces, nft tables and rules, cgroups, kernel keys, loop devices, files
// under given folders, processes, and the open files of this process.
//
// Other people may use the same machine at the same time, so a snapshot has
// a scope. An object is in scope when it can be traced to this process:
//
//   - a process is ours when it is a descendant (this package makes the test
//     process a subreaper, so that orphans of our commands come to it and not
//     to init), or its environment carries the marker BERTH_LEAK=<token> that
//     this package puts into ours, or its root or working folder is below one
//     of the given folders, or it is in a cgroup with one of the given names;
//   - a namespace is ours when a process of ours is in it or holds it open,
//     when this process holds it open, or when it is bind-mounted below the
//     folders;
//   - a mount is ours when it is in a mount namespace of a process of ours,
//     or in this process's own one with its target or source below the
//     folders;
//   - links, nft tables, cgroups and keys are ours when they have one of the
//     given names at the start of theirs; links and nft tables also when they
//     are in a network namespace of ours other than this process's own;
//   - loop devices are ours when their file is below the folders.
//
// With Config.Strict (BERTH_LEAK_STRICT=1) everything on the machine counts,
// kernel threads apart: for a machine that runs nothing else.
//
// The package removes nothing that was leaked. One thing it takes away: exit
// codes of orphans that nobody will ask for (see reap). It belongs to
// the tests, outside the rows.
package leak

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Config says what is in scope.
type Config struct {
	Folders []string // store and run folders
	Names   []string // beginnings of the names of cgroups, links, nft tables and keys
	Token   string   // marker in the environment of our processes; empty: this process's own
	Except  []Kind   // kinds that are not looked at; NFT alone is looked at, but not told
	Strict  bool     // everything on the machine is in scope
}

// Kind is one sort of thing that can be left behind.
type Kind string

// The kinds, in the order in which they are printed.
const (
	Process   Kind = "process"
	Namespace Kind = "namespace"
	Mount     Kind = "mount"
	Link      Kind = "link"
	NFT       Kind = "nft"
	Cgroup    Kind = "cgroup"
	Key       Kind = "key"
	Loop      Kind = "loop"
	File      Kind = "file"
	FD        Kind = "fd"
)

var kinds = []Kind{Process, Namespace, Mount, Link, NFT, Cgroup, Key, Loop, File, FD}

// Snapshot is what was there: for each kind, a text by identity. The
// identity outlives renumbering: a process is its pid and start time, an open
// file its target.
type Snapshot map[Kind]map[string]string

func (s Snapshot) add(kind Kind, id, text string) {
	if s[kind] == nil {
		s[kind] = map[string]string{}
	}
	s[kind][id] = text
}

// Take lists everything in scope now. Its error joins the kinds that could
// not be listed; the others are there all the same.
func Take(cfg Config) (Snapshot, error) {
	if cfg.Token == "" {
		cfg.Token = Adopt()
	}
	c, err := cfg.clean()
	if err != nil {
		return nil, err
	}
	s := Snapshot{}
	var errs []error
	w, err := scan(c)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	takeProcesses(s, w)
	takeNamespaces(s, w)
	for _, step := range []struct {
		kind Kind
		take func(Snapshot, *world) error
	}{
		{Mount, takeMounts}, {Link, takeNetworks}, {Cgroup, takeCgroups}, {Key, takeKeys},
		{Loop, takeLoops}, {File, takeFiles}, {FD, takeFDs},
	} {
		if slices.Contains(c.Except, step.kind) {
			continue
		}
		if err := step.take(s, w); err != nil {
			errs = append(errs, fmt.Errorf("list each %s: %w", step.kind, err))
		}
	}
	for _, kind := range c.Except {
		delete(s, kind)
	}
	return s, errors.Join(errs...)
}

// clean makes the folders absolute and free of symbolic links, as the kernel
// prints them.
func (cfg Config) clean() (Config, error) {
	if os.Getenv("BERTH_LEAK_STRICT") == "1" {
		cfg.Strict = true
	}
	folders := make([]string, 0, len(cfg.Folders))
	for _, f := range cfg.Folders {
		full, err := filepath.Abs(f)
		if err != nil {
			return cfg, err
		}
		if real, err := filepath.EvalSymlinks(full); err == nil {
			full = real
		}
		folders = append(folders, full)
	}
	cfg.Folders = folders
	return cfg, nil
}

// below tells whether a path is one of the folders or in one.
func (cfg Config) below(path string) bool {
	for _, f := range cfg.Folders {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

// named tells whether a name begins as ours do.
func (cfg Config) named(name string) bool {
	for _, n := range cfg.Names {
		if strings.HasPrefix(name, n) {
			return true
		}
	}
	return false
}

// lasting are the kinds whose loss is damage too, not only their gain.
var lasting = map[Kind]bool{Mount: true, Link: true, NFT: true}

// Diff tells what is in after and was not before, one line each (the mounts of
// a new namespace together), and which mounts, links and nft rules are gone.
func Diff(before, after Snapshot) []string {
	var lines []string
	fresh := map[string]int{} // mounts of a new namespace count as one
	for _, kind := range kinds {
		for _, id := range missing(after[kind], before[kind]) {
			ns, _, _ := strings.Cut(id, " ")
			if _, known := before[Namespace][ns]; kind == Mount && !known && after[Namespace][ns] != "" {
				fresh[ns]++
				continue
			}
			lines = append(lines, fmt.Sprintf("left behind: %s %s", kind, after[kind][id]))
		}
		if !lasting[kind] {
			continue
		}
		for _, id := range missing(before[kind], after[kind]) {
			lines = append(lines, fmt.Sprintf("lost: %s %s", kind, before[kind][id]))
		}
	}
	for ns, n := range fresh {
		lines = append(lines, fmt.Sprintf("left behind: mount %d of them in %s", n, ns))
	}
	sort.Strings(lines)
	return lines
}

// missing are the sorted keys of a that b lacks.
func missing(a, b map[string]string) []string {
	var ids []string
	for id := range a {
		if _, ok := b[id]; !ok {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids
}

// marker is the environment variable by which processes are known as ours.
const marker = "BERTH_LEAK"

// Adopt makes this process the one that orphans of its commands come to, and
// marks its environment; it gives the marker's value. Take does it, too; a
// test calls it before it starts anything.
var Adopt = sync.OnceValue(func() string {
	// Without it orphans are found by marker, folder and cgroup only.
	if unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == nil {
		go reap()
	}
	token := make([]byte, 8)
	_, _ = rand.Read(token)
	text := hex.EncodeToString(token)
	_ = os.Setenv(marker, text)
	return text
})
