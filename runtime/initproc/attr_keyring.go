package initproc

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// quote is strconv.Quote under the name that texts use.
func quote(s string) string { return strconv.Quote(s) }

// keySearch lets processes of the keyring's owner search it, in the layout of
// keyctl_setperm(3).
const keySearch = 0x080000

// Keyring joins a session keyring of the container's own, so that the keys of
// the caller's session stay out of reach (security class V23). An exec'd
// process joins the same one by its name.
//
// Every keyring counts against the owner's quota (kernel.keys.maxkeys, 200 for
// a user; keyrings(7)). With the quota used up the process goes on in an
// anonymous state: the warning says so, and the caller's keyring is left as
// it was inherited only if even leaving it is impossible.
type Keyring struct {
	KeyringName string
	// Label is the SELinux label of the keyring, none if empty.
	Label string
}

func (s *Keyring) Name() string  { return "join session keyring " + s.KeyringName }
func (s *Keyring) op() op        { return opKeyring }
func (s *Keyring) wire(c *coder) { c.str(&s.KeyringName); c.str(&s.Label) }

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
		p.warn("no session keyring of its own: the quota of keys is used up (kernel.keys.maxkeys)")
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
