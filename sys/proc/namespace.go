package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"berth/base/atomicfile"
)

// maxMap is more than an id map has in bytes: 340 lines, user_namespaces(7).
const maxMap = 64 << 10

// InUserNamespace reports whether the caller is in a user namespace other than
// the first one, which maps every id to itself (user_namespaces(7)). On a kernel
// without them nobody is.
func InUserNamespace() (bool, error) {
	text, err := atomicfile.ReadCapped("/proc/self/uid_map", maxMap)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the user namespace: %w", err)
	}
	return strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295", nil
}

// InNamespace lists the living processes that are in a namespace, as far as the
// caller may look: kind is a file of /proc/PID/ns, and name what readlink(2) says
// of it, see namespaces(7).
func InNamespace(kind, name string) ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if ns, err := os.Readlink("/proc/" + n + "/ns/" + kind); err != nil || ns != name {
			continue
		}
		if st, err := ReadStat(pid); err == nil && !st.Dead() {
			out = append(out, pid)
		}
	}
	return out, nil
}

// WithSame lists the living processes in the same namespace of a kind as one of
// them.
func WithSame(pid int, kind string) ([]int, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/ns/" + kind
	name, err := os.Readlink(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return InNamespace(kind, name)
}
