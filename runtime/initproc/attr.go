package initproc

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/codec"
)

// attrState is what the steps of the process itself leave for later ones.
type attrState struct {
	// final is the capability state that the program starts with. With keepAdmin
	// CAP_SYS_ADMIN is still permitted beside it.
	final     capState
	keepAdmin bool
	// filter is a seccomp filter that becomes active right before execve(2).
	filter *Seccomp
}

// newAttrStep makes the steps that set up the process itself.
func newAttrStep(o op) Step {
	switch o {
	case opHostname:
		return new(Hostname)
	case opSysctl:
		return new(Sysctl)
	case opKeyring:
		return new(Keyring)
	case opRlimits:
		return new(Rlimits)
	case opScheduler:
		return new(Scheduler)
	case opIOPriority:
		return new(IOPriority)
	case opPersonality:
		return new(Personality)
	case opAffinity:
		return new(Affinity)
	case opMemoryPolicy:
		return new(MemoryPolicy)
	case opLabel:
		return new(Label)
	case opUmask:
		return new(Umask)
	case opSeccomp:
		return new(Seccomp)
	case opNoNewPrivileges:
		return new(NoNewPrivileges)
	case opStreams:
		return new(Streams)
	case opStdio:
		return new(Stdio)
	case opIdentity:
		return new(Identity)
	case opConsole:
		return new(Console)
	case opHooks:
		return new(Hooks)
	case opSetsid:
		return new(Setsid)
	}
	return nil
}

// Setsid makes the process the leader of a new session: no terminal of the
// caller's can be reached from it (security class V27).
type Setsid struct{}

func (s *Setsid) Name() string  { return "start a new session" }
func (s *Setsid) op() op        { return opSetsid }
func (s *Setsid) wire(c *coder) {}

func (s *Setsid) do(*process) error {
	_, err := unix.Setsid()
	if err == unix.EPERM {
		// Already a leader.
		if sid, e := unix.Getsid(0); e == nil && sid == unix.Getpid() {
			return nil
		}
	}
	return err
}

// Hostname sets the names of the UTS namespace; an empty one is left as it is.
type Hostname struct{ Host, Domain string }

func (s *Hostname) Name() string {
	if s.Host == "" {
		return "set domain name " + quote(s.Domain)
	}
	return "set host name " + quote(s.Host)
}
func (s *Hostname) op() op        { return opHostname }
func (s *Hostname) wire(c *coder) { c.Str(&s.Host); c.Str(&s.Domain) }

func (s *Hostname) do(*process) error {
	if s.Host != "" {
		if err := unix.Sethostname([]byte(s.Host)); err != nil {
			return err
		}
	}
	if s.Domain != "" {
		if err := unix.Setdomainname([]byte(s.Domain)); err != nil {
			return fail("domain name "+quote(s.Domain), err)
		}
	}
	return nil
}

// Sysctl writes one kernel parameter of the container's own namespaces. Path
// is relative to /proc/sys and was checked by the parent (security class V13).
type Sysctl struct{ Path, Value string }

func (s *Sysctl) Name() string  { return "set sysctl " + s.Path }
func (s *Sysctl) op() op        { return opSysctl }
func (s *Sysctl) wire(c *coder) { c.Str(&s.Path); c.Str(&s.Value) }

func (s *Sysctl) do(p *process) error {
	return p.writeProc("sys/"+s.Path, []byte(s.Value))
}

// Umask sets the file mode creation mask.
type Umask struct{ Mask uint32 }

func (s *Umask) Name() string  { return "set umask" }
func (s *Umask) op() op        { return opUmask }
func (s *Umask) wire(c *coder) { c.U32(&s.Mask) }

func (s *Umask) do(*process) error {
	unix.Umask(int(s.Mask))
	return nil
}

// Rlimit is one limit, see getrlimit(2).
type Rlimit struct {
	Resource   int
	Soft, Hard uint64
}

// Rlimits sets resource limits.
type Rlimits struct {
	Limits []Rlimit
	// Raise only lifts hard limits that are too low, and leaves the rest for a
	// later Rlimits: lifting needs rights that the process loses, and a low
	// limit would hinder the helper itself.
	Raise bool
}

func (s *Rlimits) Name() string {
	if s.Raise {
		return "raise resource limits"
	}
	return "set resource limits"
}
func (s *Rlimits) op() op { return opRlimits }
func (s *Rlimits) wire(c *coder) {
	codec.List(c, &s.Limits, func(c *coder, l *Rlimit) {
		c.Int(&l.Resource)
		c.U64(&l.Soft)
		c.U64(&l.Hard)
	})
	c.Bool(&s.Raise)
}

func (s *Rlimits) do(*process) error {
	for _, l := range s.Limits {
		want := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		if s.Raise {
			if err := unix.Prlimit(0, l.Resource, nil, &want); err != nil {
				return fail(rlimitName(l.Resource), err)
			}
			if want.Max >= l.Hard {
				continue
			}
			want.Max = l.Hard
		}
		if err := unix.Setrlimit(l.Resource, &want); err != nil {
			if err == unix.EPERM {
				err = fail("the hard limit is above the caller's, which takes CAP_SYS_RESOURCE on the host", err)
			}
			return fail(rlimitName(l.Resource), err)
		}
	}
	return nil
}

// rlimitNames is in the order of the kernel's numbers, see asm-generic/resource.h.
var rlimitNames = [...]string{
	unix.RLIMIT_CPU: "RLIMIT_CPU", unix.RLIMIT_FSIZE: "RLIMIT_FSIZE", unix.RLIMIT_DATA: "RLIMIT_DATA",
	unix.RLIMIT_STACK: "RLIMIT_STACK", unix.RLIMIT_CORE: "RLIMIT_CORE", unix.RLIMIT_RSS: "RLIMIT_RSS",
	unix.RLIMIT_NPROC: "RLIMIT_NPROC", unix.RLIMIT_NOFILE: "RLIMIT_NOFILE", unix.RLIMIT_MEMLOCK: "RLIMIT_MEMLOCK",
	unix.RLIMIT_AS: "RLIMIT_AS", unix.RLIMIT_LOCKS: "RLIMIT_LOCKS", unix.RLIMIT_SIGPENDING: "RLIMIT_SIGPENDING",
	unix.RLIMIT_MSGQUEUE: "RLIMIT_MSGQUEUE", unix.RLIMIT_NICE: "RLIMIT_NICE", unix.RLIMIT_RTPRIO: "RLIMIT_RTPRIO",
	unix.RLIMIT_RTTIME: "RLIMIT_RTTIME",
}

func rlimitName(resource int) string {
	if resource >= 0 && resource < len(rlimitNames) {
		return rlimitNames[resource]
	}
	return "unknown limit"
}

// RlimitByName returns the kernel's number of a limit such as "RLIMIT_NOFILE".
func RlimitByName(name string) (resource int, ok bool) {
	for i, n := range rlimitNames {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// quote is strconv.Quote under the name that texts use.
func quote(s string) string { return strconv.Quote(s) }

// keySearch lets processes of the keyring's owner search it, in the layout of
// keyctl_setperm(3).
const keySearch = 0x080000

// Keyring joins a session keyring of the container's own, so that the keys of
// the caller's session stay out of reach (security class V23). An exec'd
// process joins the same one by its name.
//
// Every keyring counts against its owner's quota (kernel.keys.maxkeys, 200 for
// a user; keyrings(7)). With the quota used up the process goes on with the
// caller's session keyring, for the kernel knows no way to have none, and the
// warning says so.
type Keyring struct {
	KeyringName string
	// Label is the SELinux label of the keyring, none if empty.
	Label string
}

func (s *Keyring) Name() string  { return "join session keyring " + s.KeyringName }
func (s *Keyring) op() op        { return opKeyring }
func (s *Keyring) wire(c *coder) { c.Str(&s.KeyringName); c.Str(&s.Label) }

func (s *Keyring) do(p *process) error {
	if s.Label != "" {
		if err := p.writeProc("thread-self/attr/keycreate", []byte(s.Label)); err != nil {
			return fail("label "+quote(s.Label), err)
		}
		defer func() { _ = p.writeProc("thread-self/attr/keycreate", nil) }()
	}
	id, err := unix.KeyctlJoinSessionKeyring(s.KeyringName)
	switch err {
	case nil:
	case unix.EDQUOT:
		p.warn("no session keyring of its own, the caller's stays in reach: the quota of keys is used up (kernel.keys.maxkeys)")
		return nil
	case unix.ENOSYS:
		return nil // a kernel without keyrings has none to keep apart
	default:
		return err
	}
	return allowSearch(id)
}

// allowSearch adds search to what the keyring's owner may do, so that an
// exec'd process finds it by name.
func allowSearch(id int) error {
	desc, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
	if err != nil {
		return fail("read its permissions", err)
	}
	// type;uid;gid;permissions in hex;description, see keyctl_describe(3).
	f := strings.SplitN(desc, ";", 5)
	if len(f) != 5 {
		return fail("read its permissions", unix.EINVAL)
	}
	perm, err := strconv.ParseUint(f[3], 16, 32)
	if err != nil {
		return fail("read its permissions", unix.EINVAL)
	}
	if perm&keySearch != 0 {
		return nil
	}
	return unix.KeyctlSetperm(id, uint32(perm)|keySearch)
}
