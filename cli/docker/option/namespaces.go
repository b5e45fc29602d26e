package option

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

func namespaceFlags(f *pflag.FlagSet, c *config.Namespaces) {
	f.StringVar(&c.User, "userns", "", "User namespace to use")
	f.StringVar(&c.PID, "pid", "", "PID namespace to use")
	f.StringVar(&c.IPC, "ipc", "", "IPC mode to use")
	f.StringVar(&c.UTS, "uts", "", "UTS namespace to use")
	f.StringVar(&c.Cgroup, "cgroupns", "", "Cgroup namespace to use (host|private)\n"+
		"'host':    Run the container in the Docker host's cgroup namespace\n"+
		"'private': Run the container in its own private cgroup namespace\n"+
		"'':        Use the cgroup namespace as configured by the\n"+
		"           default-cgroupns-mode option on the daemon (default)")
	f.String("isolation", "", "Container isolation technology")
}

// readNamespaces checks the modes that docker's client knows; the container
// that a mode names is the engine's business.
func (o *Options) readNamespaces(Around) error {
	n := &o.config.Namespaces
	other := func(mode string) bool {
		id, ok := strings.CutPrefix(mode, "container:")
		return ok && id != ""
	}
	path := func(mode string) bool { return strings.HasPrefix(mode, "ns:") }
	plain := func(mode string, words ...string) bool {
		for _, w := range append(words, "", "host", "private") {
			if mode == w {
				return true
			}
		}
		return path(mode)
	}
	switch {
	case !plain(n.PID) && !other(n.PID):
		return command.Line("--pid: invalid PID mode")
	case !plain(n.UTS) && !other(n.UTS):
		return command.Line("--uts: invalid UTS mode")
	case !plain(n.User) && !other(n.User) && !ownUsers(n.User):
		return command.Line("--userns: invalid USER mode")
	case !plain(n.Cgroup) && !other(n.Cgroup):
		return command.Line("--cgroupns: invalid CGROUP mode")
	}
	if i, _ := o.flags.GetString("isolation"); i != "" && i != "default" {
		return command.FromEngine(command.Line("Invalid isolation: %q - linux only supports 'default'", i))
	}
	return nil
}

// ownUsers reports whether a mode is one of podman's for a user namespace of the
// container's own: auto[:size=N], keep-id[:uid=N,gid=N], nomap.
func ownUsers(mode string) bool {
	name, options, some := strings.Cut(mode, ":")
	known := map[string][]string{"auto": {"size"}, "keep-id": {"uid", "gid"}, "nomap": nil}
	keys, ok := known[name]
	if !ok || !some {
		return ok
	}
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		if _, err := strconv.ParseUint(value, 10, 32); err != nil || !slices.Contains(keys, key) {
			return false
		}
	}
	return true
}
