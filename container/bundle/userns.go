package bundle

import (
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
	"berth/container/config"
)

// UsernsFacts is what the choice of a user namespace depends on besides what was
// asked.
type UsernsFacts struct {
	Kernel Kernel
	// Unmappable are writable bind sources on file systems that cannot be id-mapped.
	Unmappable []string
	// Rootless: the engine is in a user namespace already, which its containers share
	// unless they ask for ids of their own.
	Rootless bool
}

// PrivateUsers decides whether a container gets a user namespace of its own: by
// default it does. If not, reason says why, "" where nothing else was to be expected.
func PrivateUsers(c *config.Config, f *UsernsFacts) (private bool, reason string) {
	mode := c.Namespaces.User
	switch {
	case f.Rootless:
		return false, "" // OwnIDs says for which modes it is otherwise
	case mode == "host":
		return false, "--userns=host was asked for"
	case strings.HasPrefix(mode, "container:"), strings.HasPrefix(mode, "ns:"), joins(c):
		return false, "" // that of the other container
	case mode == "private" || strings.HasPrefix(mode, "auto"):
		return true, ""
	case c.Security.Privileged:
		return false, "it is privileged"
	case c.Network.Mode == "host":
		return false, "it has the host's network"
	case strings.HasPrefix(c.Network.Mode, "ns:"):
		return false, "it joins a network namespace that it does not own"
	case c.Namespaces.PID == "host":
		return false, "it has the host's processes"
	case c.Namespaces.IPC == "host":
		return false, "it has the host's IPC"
	case f.Kernel.Before(5, 19):
		return false, "this kernel cannot id-map layers, which takes Linux 5.19"
	case len(f.Unmappable) > 0:
		return false, "the file system of " + f.Unmappable[0] + " cannot be id-mapped"
	}
	return true, ""
}

// joins reports whether the container joins another's network, processes or IPC,
// and so its user namespace.
func joins(c *config.Config) bool {
	return slices.ContainsFunc([]string{c.Network.Mode, c.Namespaces.PID, c.Namespaces.IPC}, func(mode string) bool {
		return strings.HasPrefix(mode, "container:")
	})
}

// LargeIDs lists the ids, by number, that the configuration names and a range of
// size ids has not: each gets a mapping of its own.
func LargeIDs(c *config.Config, r *Resolved, size uint32) (uids, gids []uint32) {
	user, group, _ := strings.Cut(r.User, ":")
	add := func(list *[]uint32, s string) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err == nil && uint32(n) >= size && n < 1<<32-1 && !slices.Contains(*list, uint32(n)) {
			*list = append(*list, uint32(n))
		}
	}
	add(&uids, user)
	add(&gids, group)
	for _, g := range c.Process.Groups {
		add(&gids, g)
	}
	return uids, gids
}

// UsersSize is the N of --userns=auto:size=N, 0 if that was not said. Error: Invalid
// for none and for more than most.
func UsersSize(c *config.Config, most uint32) (uint32, error) {
	mode, options, some := strings.Cut(c.Namespaces.User, ":")
	switch {
	case mode != "auto" || !some:
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(options, "size="), 10, 32)
	if err != nil || n == 0 || n > uint64(most) {
		return 0, fault.New(fault.Invalid, "--userns=%s: a container has 1 to %d ids of its own", c.Namespaces.User, most)
	}
	return uint32(n), nil
}
