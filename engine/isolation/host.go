package isolation

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/container"
	"berth/sys/confine"
)

// Machine is what the verb found out of this machine and of who asks.
type Machine struct {
	UID      uint32 // of the user who called berth; 0 root
	Rootless bool   // an ordinary user's, or inside a container
	Store    string // the folder with images and layers
	Outside  error  // why an ordinary user has no namespace, nil: there is one
	Probed   *container.Host
	Taken    int // ranges of ids that containers have
	Layout   string
	Limiting []string // controllers
	AppArmor bool
	SELinux  bool
	// Unlabelled says why containers have no label of SELinux.
	Unlabelled string
	// Unprofiled says why AppArmor has not the default profile; ProfileNext: the next
	// start loads it.
	Unprofiled  string
	ProfileNext bool
	// Firewall is asked in the caller's network namespace.
	Firewall func() error
}

// Host says what holds on this machine.
func Host(m *Machine) []Row {
	var rows []Row
	for _, part := range []func(*Machine) []Row{
		kernel, userNamespaces, idRanges, layers, confinement, modules, groups, quotas, networks, hardened,
	} {
		rows = append(rows, part(m)...)
	}
	return rows
}

func kernel(m *Machine) []Row {
	var u unix.Utsname
	release := "?"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	r := Row{"kernel", "Kernel", Yes, release}
	switch k := m.Probed.Kernel; {
	case k.Before(5, 10):
		r.State, r.Why = No, release+": older than 5.10, on which nothing is tested"
	case k.Before(5, 19):
		r.State, r.Why = Partly, release+": containers share the host's user ids before 5.19, which id-maps layers"
	}
	return []Row{r}
}

func userNamespaces(m *Machine) []Row {
	r := Row{"userns", "User namespaces", Yes, "each container gets one of its own"}
	if m.Rootless {
		r.Why = "the user's containers share one"
	}
	limit := Row{"userns.limit", "Limit of user namespaces", Yes, ""}
	n, ok := number("/proc/sys/user/max_user_namespaces")
	switch {
	case !exists("/proc/self/ns/user"):
		r.State, r.Why = No, "the kernel has none (CONFIG_USER_NS)"
	case ok && n == 0:
		r.State, r.Why = No, "sysctl user.max_user_namespaces is 0"
	case m.Rootless && m.Outside != nil:
		r.State, r.Why = No, m.Outside.Error()
	}
	switch {
	case !ok:
		limit.State, limit.Why = Unknown, "sysctl user.max_user_namespaces cannot be read"
	case n < 1000:
		limit.State, limit.Why = Partly, fmt.Sprintf("%d: raise sysctl user.max_user_namespaces for more containers", n)
	default:
		limit.Why = fmt.Sprintf("%d", n)
	}
	return []Row{r, limit, restricted(m)}
}

// restricted is what the administrator or the distribution has against user
// namespaces of ordinary users.
func restricted(m *Machine) Row {
	r := Row{"userns.unprivileged", "User namespaces of ordinary users", Yes, "no restriction"}
	if n, ok := number("/proc/sys/kernel/unprivileged_userns_clone"); ok && n == 0 {
		r.State, r.Why = No, "sysctl kernel.unprivileged_userns_clone is 0"
		return r
	}
	if n, ok := number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); ok && n != 0 {
		r.State, r.Why = Partly, "AppArmor allows them to programs with a profile alone: berth's is /etc/apparmor.d/berth (make install), loaded by apparmor_parser -r; or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	}
	if m.Rootless && m.Outside == nil {
		r.State = Yes
	}
	return r
}

func confinement(*Machine) []Row {
	l := Row{"landlock", "Landlock, on helpers that read foreign bytes", Yes, ""}
	switch abi := confine.Supported(); {
	case abi == 0:
		l.State, l.Why = No, "the kernel has none, or lsm= of its command line leaves it out: helpers have namespaces and seccomp alone"
	case abi < 6:
		l.State, l.Why = Partly, fmt.Sprintf("ABI %d: before 6 (Linux 6.12) signals and abstract sockets are free, before 4 (6.7) TCP", abi)
	default:
		l.Why = fmt.Sprintf("ABI %d", abi)
	}
	s, n := Row{"seccomp", "Seccomp", Yes, "filters"}, Row{"seccomp.notify", "Seccomp notify", Yes, "a program may ask to judge calls (a profile's listener)"}
	actions, ok := text("/proc/sys/kernel/seccomp/actions_avail")
	if !ok {
		s.State, s.Why = No, "the kernel has no filters (CONFIG_SECCOMP_FILTER)"
	}
	if !strings.Contains(" "+actions+" ", " user_notif ") {
		n.State, n.Why = No, "takes Linux 5.0 with CONFIG_SECCOMP_FILTER"
	}
	p := Row{"no_new_privs", "No new privileges for helpers", Yes, "set in every helper that reads foreign bytes; containers: --security-opt no-new-privileges"}
	if _, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil {
		p.State, p.Why = No, "the kernel does not know it"
	}
	return []Row{l, s, n, p}
}

func modules(m *Machine) []Row {
	a := Row{"apparmor", "AppArmor", Yes, "active; containers have the profile berth-default, or the one that --security-opt apparmor=PROFILE names"}
	switch {
	case !m.AppArmor:
		a.State, a.Why = No, "not active here; namespaces, capabilities and seccomp confine"
	case m.ProfileNext:
		a.Why = "active; the next start of a container loads its profile, berth-default"
	case m.Unprofiled != "":
		a.State, a.Why = Partly, "active, but containers have no profile of themselves: "+m.Unprofiled
	}
	s := Row{"selinux", "SELinux", Yes, "active; each container has a label of its own, or the one that --security-opt label=… makes"}
	switch n, ok := number("/sys/fs/selinux/enforce"); {
	case !m.SELinux:
		s.State, s.Why = No, "not active here; namespaces, capabilities and seccomp confine"
	case m.Unlabelled != "":
		s.State, s.Why = Partly, "active, but containers have no label of their own: "+m.Unlabelled
	case ok && n == 0:
		s.State, s.Why = Partly, "permissive: containers are labelled, and nothing is denied; setenforce 1"
	}
	y := Row{"yama", "Yama: who may trace whom", Yes, ""}
	switch n, ok := number("/proc/sys/kernel/yama/ptrace_scope"); {
	case !ok:
		y.State, y.Why = No, "the kernel has none: a user's processes may trace each other; those of containers with ids of their own are others'"
	case n == 0:
		y.State, y.Why = No, "sysctl kernel.yama.ptrace_scope is 0: a user's processes may trace each other"
	default:
		y.Why = fmt.Sprintf("ptrace_scope %d", n)
	}
	return []Row{a, s, y}
}

func hardened(*Machine) []Row {
	one := func(key, what, path, safe, danger string, want int64) Row {
		n, ok := number(path)
		switch {
		case !ok:
			return Row{key, what, Unknown, path + " cannot be read"}
		case n == want:
			return Row{key, what, Yes, safe}
		}
		return Row{key, what, No, danger}
	}
	tty := one("tiocsti", "Programs cannot type into terminals", "/proc/sys/dev/tty/legacy_tiocsti", "TIOCSTI is off", "sysctl dev.tty.legacy_tiocsti=0 ends it; containers have terminals of their own", 0)
	if !exists("/proc/sys/dev/tty/legacy_tiocsti") {
		tty.State, tty.Why = No, "takes Linux 6.2; containers have terminals of their own"
	}
	return []Row{
		one("protected_symlinks", "Links of others in /tmp are not followed", "/proc/sys/fs/protected_symlinks", "fs.protected_symlinks is on",
			"sysctl fs.protected_symlinks=1; berth itself follows none", 1),
		tty,
	}
}

// mine opens a file as the user would; false if the user may not.
func mine(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
