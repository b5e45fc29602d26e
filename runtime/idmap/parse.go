package idmap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Caps on the files that are read; real ones have tens of lines.
const (
	maxFileBytes  = 4 << 20
	maxFileLines  = 100_000
	maxUserRanges = MaxLines
)

// Range is a run of ids.
type Range struct{ First, Size uint32 }

// ParseMap parses the text of a uid_map or gid_map: three numbers a line. It
// refuses what the kernel would never show.
func ParseMap(text []byte) ([]specs.LinuxIDMapping, error) {
	if len(text) > maxFileBytes {
		return nil, fault.New(fault.Invalid, "id map of %d bytes is too long", len(text))
	}
	var list []specs.LinuxIDMapping
	for n, line := range bytes.Split(text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		f := bytes.Fields(line)
		if len(f) != 3 {
			return nil, fault.New(fault.Invalid, "id map, line %d: not three numbers", n+1)
		}
		var v [3]uint32
		for i := range v {
			x, err := strconv.ParseUint(string(f[i]), 10, 32)
			if err != nil {
				return nil, fault.New(fault.Invalid, "id map, line %d: %.20q is not an id", n+1, f[i])
			}
			v[i] = uint32(x)
		}
		if len(list) == MaxLines {
			return nil, fault.New(fault.Invalid, "id map has more than %d lines", MaxLines)
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: v[0], HostID: v[1], Size: v[2]})
	}
	return list, Check("id map", list)
}

// Read returns the maps of a running process.
func Read(pid int) (*Maps, error) {
	var m Maps
	for _, f := range []struct {
		name string
		to   *[]specs.LinuxIDMapping
	}{{"uid_map", &m.UID}, {"gid_map", &m.GID}} {
		path := "/proc/" + strconv.Itoa(pid) + "/" + f.name
		text, err := atomicfile.ReadCapped(path, maxFileBytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if *f.to, err = ParseMap(text); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return &m, nil
}

// Subordinate reads the ranges that a file such as /etc/subuid gives to a user,
// by name or by number. A missing file gives none.
func Subordinate(path, name string, id uint32) ([]Range, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "read %s: not a regular file", path)
	}
	text, err := atomicfile.ReadCappedFrom(f, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	ranges, err := ParseSubordinate(text, name, id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return ranges, nil
}

// ParseSubordinate is the parser of Subordinate. Lines are user:first:count;
// malformed ones count for nobody, as with newuidmap(1).
func ParseSubordinate(text []byte, name string, id uint32) ([]Range, error) {
	number := strconv.FormatUint(uint64(id), 10)
	var out []Range
	lines := 0
	for line := range strings.Lines(string(text)) {
		if lines++; lines > maxFileLines {
			return nil, fault.New(fault.Invalid, "more than %d lines", maxFileLines)
		}
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) != 3 || f[0] == "" || f[0] != name && f[0] != number {
			continue
		}
		first, err1 := strconv.ParseUint(f[1], 10, 32)
		size, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil || size == 0 || overflows(uint32(first), uint32(size)) {
			continue
		}
		if len(out) == maxUserRanges {
			return nil, fault.New(fault.Invalid, "more than %d ranges for one user", maxUserRanges)
		}
		out = append(out, Range{uint32(first), uint32(size)})
	}
	return out, nil
}
