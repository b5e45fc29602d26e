// Package namespace reads the namespaces of an OCI spec: which are created,
// which are joined, by which path. It also names those of a running process,
// for exec.
//
// It enters none: that is sys/clone. Row 2.
package namespace

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// kind ties the spec's word to the clone flag and the name under /proc/PID/ns.
type kind struct {
	Type specs.LinuxNamespaceType
	Flag int
	File string
}

// kinds in the order of /proc/PID/ns; user last, as joined namespaces that need
// the caller's rights come first.
var kinds = [...]kind{
	{specs.MountNamespace, unix.CLONE_NEWNS, "mnt"},
	{specs.UTSNamespace, unix.CLONE_NEWUTS, "uts"},
	{specs.IPCNamespace, unix.CLONE_NEWIPC, "ipc"},
	{specs.NetworkNamespace, unix.CLONE_NEWNET, "net"},
	{specs.PIDNamespace, unix.CLONE_NEWPID, "pid"},
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP, "cgroup"},
	{specs.TimeNamespace, unix.CLONE_NEWTIME, "time"},
	{specs.UserNamespace, unix.CLONE_NEWUSER, "user"},
}

// Path is a namespace to join.
type Path struct {
	Flag int
	Path string
}

// Set is what a spec says of namespaces.
type Set struct {
	New  int // CLONE_NEW* of those to create
	Join []Path
}

// Has reports whether a kind is new or joined, that is: not the caller's.
func (s Set) Has(flag int) bool {
	if s.New&flag != 0 {
		return true
	}
	for _, p := range s.Join {
		if p.Flag == flag {
			return true
		}
	}
	return false
}

// Parse reads linux.namespaces. A kind may be named once (config-linux.md,
// "Namespaces").
func Parse(list []specs.LinuxNamespace) (Set, error) {
	var s Set
	for i, ns := range list {
		k := byType(ns.Type)
		if k == nil {
			return Set{}, fault.New(fault.Invalid, "linux.namespaces[%d].type: unknown namespace %q", i, ns.Type)
		}
		if s.Has(k.Flag) {
			return Set{}, fault.New(fault.Invalid, "linux.namespaces[%d].type: %q is named twice", i, ns.Type)
		}
		if ns.Path == "" {
			s.New |= k.Flag
			continue
		}
		if strings.ContainsRune(ns.Path, 0) || ns.Path[0] != '/' {
			return Set{}, fault.New(fault.Invalid, "linux.namespaces[%d].path: %q is not an absolute path", i, ns.Path)
		}
		s.Join = append(s.Join, Path{k.Flag, ns.Path})
	}
	return s, nil
}

func byType(t specs.LinuxNamespaceType) *kind {
	for i := range kinds {
		if kinds[i].Type == t {
			return &kinds[i]
		}
	}
	return nil
}

// Open opens a namespace to join and checks that it is one of the right kind:
// ioctl_ns(2), NS_GET_NSTYPE.
func Open(p Path) (*os.File, error) {
	fd, err := unix.Open(p.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s namespace %s: %w", nameOf(p.Flag), p.Path, err)
	}
	f := os.NewFile(uintptr(fd), p.Path)
	got, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || got != p.Flag {
		f.Close()
		return nil, fault.New(fault.Invalid, "open %s namespace %s: it is not a namespace of that kind", nameOf(p.Flag), p.Path)
	}
	return f, nil
}

func nameOf(flag int) string {
	for i := range kinds {
		if kinds[i].Flag == flag {
			return string(kinds[i].Type)
		}
	}
	return "unknown"
}

// Foreign opens the namespaces in which the process of a /proc/PID directory
// differs from the caller, for setns(2).
func Foreign(procPID *os.File) (files []*os.File, flags []int, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	own, err := unix.Open("/proc/self/ns", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open the caller's namespaces: %w", err)
	}
	defer unix.Close(own)
	for _, k := range kinds {
		fd, err := unix.Openat(int(procPID.Fd()), "ns/"+k.File, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT && k.Flag == unix.CLONE_NEWTIME {
			continue // kernel without time namespaces
		}
		if err != nil {
			return files, flags, fmt.Errorf("open the %s namespace of the container: %w", k.Type, err)
		}
		var theirs, ours unix.Stat_t
		if unix.Fstat(fd, &theirs) == nil && unix.Fstatat(own, k.File, &ours, 0) == nil && ours.Ino == theirs.Ino && ours.Dev == theirs.Dev {
			unix.Close(fd)
			continue
		}
		files = append(files, os.NewFile(uintptr(fd), k.File))
		flags = append(flags, k.Flag)
	}
	return files, flags, nil
}

// Paths lists the namespace files of a process by the spec's words.
func Paths(pid int) map[string]string {
	m := make(map[string]string, len(kinds))
	for _, k := range kinds {
		m[string(k.Type)] = fmt.Sprintf("/proc/%d/ns/%s", pid, k.File)
	}
	return m
}
