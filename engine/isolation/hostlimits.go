package isolation

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/thread"
)

// groups are the cgroups and which limits they can give.
func groups(m *Machine) []Row {
	v := Row{"cgroup", "Control groups", Yes, m.Layout}
	switch {
	case m.Layout == "none":
		v.State, v.Why = No, "none is mounted at /sys/fs/cgroup: no limit holds"
	case m.Rootless && m.Probed.NoCgroup:
		v.State, v.Why = No, m.Layout+": an ordinary user has some with v2 and a systemd user session alone (log in, or loginctl enable-linger)"
	case m.Layout != "v2":
		v.State, v.Why = Partly, m.Layout+": kills and freezes are not one step, as with v2"
	}
	rows := []Row{v}
	for _, c := range []struct{ controller, what string }{{"memory", "memory"}, {"pids", "processes"}, {"cpu", "processors"}} {
		rows = append(rows, limitable(m, c.controller, c.what))
	}
	return append(rows, deviceRules(m))
}

func limitable(m *Machine, controller, what string) Row {
	r := Row{"cgroup." + controller, "Limits of " + what, Yes, "controller " + controller}
	given := m.Limiting
	if m.Rootless {
		given = delegated(m.UID)
	}
	switch {
	case m.Rootless && m.Probed.NoCgroup:
		r.State, r.Why = No, "the user has no cgroup"
	case !slices.Contains(given, controller) && m.Rootless:
		r.State, r.Why = No, "not given to the user: Delegate="+controller+" in a drop-in of user@.service"
	case !slices.Contains(given, controller):
		r.State, r.Why = No, "the controller "+controller+" is not there"
	case controller == "memory" && m.Probed.NoSwapLimit:
		r.State, r.Why = Partly, "memory, and not swap with it: boot with swapaccount=1"
	}
	return r
}

// delegated are the controllers that systemd gives a user.
func delegated(uid uint32) []string {
	s, _ := text(fmt.Sprintf("/sys/fs/cgroup/user.slice/user-%d.slice/user@%d.service/cgroup.controllers", uid, uid))
	return strings.Fields(s)
}

func deviceRules(m *Machine) Row {
	r := Row{"cgroup.devices", "Rules for devices", Yes, ""}
	switch {
	case m.Rootless:
		r.State, r.Why = Partly, "what the user may not open, containers cannot; there are no rules besides"
	case slices.Contains(m.Limiting, "devices"):
		r.Why = "v1 controller devices"
	case m.Layout == "none":
		r.State, r.Why = No, "no cgroup"
	case !exists("/proc/sys/kernel/unprivileged_bpf_disabled"):
		r.State, r.Why = No, "v2 does it by BPF, and the kernel has none (CONFIG_BPF_SYSCALL)"
	default:
		r.Why = "BPF programs on v2"
	}
	return r
}

// wantFiles is the limit of open files that containers are to get.
const wantFiles = 524288

func quotas(m *Machine) []Row {
	k := Row{"keyrings", "Session keyrings", Unknown, "/proc/sys/kernel/keys cannot be read"}
	name := "/proc/sys/kernel/keys/maxkeys"
	if n, ok := number(name); ok {
		k.State, k.Why = Yes, fmt.Sprintf("each container's own; a container's ids have a quota of %d keys", n)
		if used, ok := keysOf(m.UID); ok && m.Rootless {
			k.State, k.Why = when(int64(used) < n, Partly, No), fmt.Sprintf("%d of the user's %d keys are used, one for each container: sysctl kernel.keys.maxkeys", used, n)
		}
	}
	f := Row{"nofile", "Limit of open files", Yes, strconv.Itoa(wantFiles)}
	if n := m.Probed.MaxFiles; n > 0 && n < wantFiles {
		f.State, f.Why = Partly, fmt.Sprintf("%d, as the caller's hard limit cannot be raised here: ulimit -Hn, or LimitNOFILE= of the service", n)
	}
	return []Row{k, f}
}

// keysOf is how many keys a user has: /proc/key-users, proc(5).
func keysOf(uid uint32) (n uint64, ok bool) {
	s, ok := text("/proc/key-users")
	if !ok {
		return 0, false
	}
	// Inside a user namespace the file shows its ids.
	if uid != 0 && unix.Geteuid() == 0 {
		uid = 0
	}
	return keysIn([]byte(s), uid), true
}

// keysIn reads "UID: USAGE NKEYS/NIKEYS …" lines; 0 for who has none.
func keysIn(table []byte, uid uint32) uint64 {
	for line := range bytes.Lines(table) {
		who, rest, ok := strings.Cut(string(line), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 || strings.TrimSpace(who) != strconv.FormatUint(uint64(uid), 10) {
			continue
		}
		total, _, _ := strings.Cut(f[1], "/")
		n, _ := strconv.ParseUint(total, 10, 64)
		return n
	}
	return 0
}

// networks are what networks need.
func networks(m *Machine) []Row {
	n := Row{"nftables", "nftables", Yes, "reachable"}
	err := m.Firewall()
	if err != nil && m.Rootless {
		n.Why = "reachable in a network namespace of the user's"
		thread.Apart(func() {
			if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
				err = m.Firewall()
			}
		})
	}
	if err != nil {
		n.State, n.Why = No, err.Error()+": networks of bridges cannot be, --network=host and none can"
	}
	p := Row{"ports", "Low ports for ordinary users", Yes, ""}
	switch first, ok := number("/proc/sys/net/ipv4/ip_unprivileged_port_start"); {
	case !ok:
		p.State, p.Why = Unknown, "sysctl net.ipv4.ip_unprivileged_port_start cannot be read"
	case first == 0:
		p.Why = "every port"
	default:
		p.State, p.Why = Partly, fmt.Sprintf("from port %d on: sysctl net.ipv4.ip_unprivileged_port_start", first)
	}
	return []Row{n, p, tun(m)}
}

// tun is the device of an ordinary user's way out.
func tun(m *Machine) Row {
	const path = "/dev/net/tun"
	r := Row{"tun", "/dev/net/tun for ordinary users", Yes, "may be opened"}
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case err != nil:
		r.State, r.Why = No, "is not there: modprobe tun"
	case m.Rootless && !mine(path), !m.Rootless && st.Mode&0o006 != 0o006:
		r.State, r.Why = No, "chmod 666 "+path+", as udev does it: it gives no right over the host's network"
	}
	return r
}

// containsWord tells whether a text has a word.
func containsWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }
