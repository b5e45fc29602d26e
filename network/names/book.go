package names

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// book is what the files say. Each is looked at on every question, and read again
// when it, or its folder, has changed: nothing has to be told to a resolver.
type book struct {
	dir  int
	boot string

	mu       sync.Mutex
	views    map[string]*page[View]
	networks map[string]*page[network]
}

// network is who is on a network.
type network struct {
	byName map[string][]*known
	byID   map[string]*known
	byAddr map[ip]*known
}

type known struct {
	Entry
	id  string
	ips []ip
}

// page is one file or folder as it was read.
type page[T any] struct {
	T    T
	ino  uint64
	mod  unix.Timespec
	read time.Time
}

// settled is how long after a change a clock tick of the file system has surely
// passed: what was read earlier may lack a change of the same tick.
const settled = 50 * time.Millisecond

func (p *page[T]) fresh(st *unix.Stat_t) bool {
	return p != nil && p.ino == st.Ino && p.mod == st.Mtim && p.read.Sub(time.Unix(st.Mtim.Unix())) > settled
}

// most bounds a file, and names the number of networks that are kept.
const (
	maxFile  = 64 << 10
	maxPages = 4096
)

// view is what a container may know; nil if it is on no network any more.
func (b *book) view(container string) *View {
	b.mu.Lock()
	defer b.mu.Unlock()
	path := Views + "/" + container
	var st unix.Stat_t
	if unix.Fstatat(b.dir, path, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		delete(b.views, container)
		return nil
	}
	if p := b.views[container]; p.fresh(&st) {
		return &p.T
	}
	now := time.Now()
	text, ok := readFile(b.dir, path)
	v := ParseView(text)
	if !ok || v.Boot != b.boot {
		delete(b.views, container)
		return nil
	}
	b.views[container] = &page[View]{v, st.Ino, st.Mtim, now}
	return &v
}

// on is who is on a network; nil if nobody.
func (b *book) on(id string) *network {
	b.mu.Lock()
	defer b.mu.Unlock()
	path := On + "/" + id
	var st unix.Stat_t
	if strings.ContainsRune(id, '/') || unix.Fstatat(b.dir, path, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		delete(b.networks, id)
		return nil
	}
	if p := b.networks[id]; p.fresh(&st) {
		return &p.T
	}
	now := time.Now()
	n, ok := b.load(path)
	if !ok {
		delete(b.networks, id)
		return nil
	}
	if len(b.networks) >= maxPages {
		clear(b.networks)
	}
	b.networks[id] = &page[network]{n, st.Ino, st.Mtim, now}
	return &n
}

// load reads a network's folder.
func (b *book) load(path string) (network, bool) {
	n := network{byName: map[string][]*known{}, byID: map[string]*known{}, byAddr: map[ip]*known{}}
	fd, err := unix.Openat(b.dir, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return n, false
	}
	defer unix.Close(fd)
	var buf [8 << 10]byte
	for {
		got, err := unix.ReadDirent(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, false
		}
		if got == 0 {
			return n, true
		}
		_, _, files := unix.ParseDirent(buf[:got], -1, nil)
		for _, id := range files {
			if strings.HasPrefix(id, ".") { // being written
				continue
			}
			text, ok := readFile(fd, id)
			if e := ParseEntry(text); ok && e.Boot == b.boot {
				n.add(&known{Entry: e, id: id})
			}
		}
	}
}

func (n *network) add(k *known) {
	n.byID[k.id] = k
	for i, name := range k.Names {
		k.Names[i] = fold(name)
	}
	for i, name := range k.Names {
		if !contains(k.Names[:i], name) {
			n.byName[name] = append(n.byName[name], k)
		}
	}
	for _, text := range k.Addresses {
		if a, _, ok := parseIP(text); ok {
			k.ips = append(k.ips, a)
			n.byAddr[a] = k
		}
	}
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// readFile reads a small file below a folder.
func readFile(dir int, path string) (string, bool) {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	return readAll(fd)
}

// readAll reads what is there, if that is not too much.
func readAll(fd int) (string, bool) {
	var b []byte
	var part [4 << 10]byte
	for {
		n, err := unix.Read(fd, part[:])
		switch {
		case err == unix.EINTR:
		case err != nil || len(b)+n > maxFile:
			return "", false
		case n == 0:
			return string(b), true
		default:
			b = append(b, part[:n]...)
		}
	}
}
