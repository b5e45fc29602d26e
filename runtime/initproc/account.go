package initproc

import (
	"slices"

	"berth/runtime/account"
)

// Account finds out who the program runs as, by the container's own passwd and
// group files: it stands before Stdio, Identity and Home, whose ids it replaces.
// It is done with the rights of the container's root, inside its root.
type Account struct {
	User   string   // USER[:GROUP], names or ids; "" is root
	Groups []string // additional ones
}

// Name is empty: the errors say by themselves what was looked for.
func (s *Account) Name() string  { return "" }
func (s *Account) op() op        { return opAccount }
func (s *Account) wire(c *coder) { c.Str(&s.User); c.Strs(&s.Groups) }

func (s *Account) do(p *process) error {
	passwd, err := account.Read("/etc/passwd")
	if err != nil {
		return err
	}
	group, err := account.Read("/etc/group")
	if err != nil {
		return err
	}
	a, err := account.Lookup(s.User, passwd, group)
	if err != nil {
		return err
	}
	// The user's own group counts as an additional one too: a program that drops
	// its gid would otherwise lose it, and with it what the group is denied.
	if !slices.Contains(a.Groups, a.GID) {
		a.Groups = append(a.Groups, a.GID)
	}
	for _, name := range s.Groups {
		gid, err := account.Group(name, group)
		if err != nil {
			return err
		}
		if !slices.Contains(a.Groups, gid) {
			a.Groups = append(a.Groups, gid)
		}
	}
	p.account, p.groupsAsked = a, len(s.Groups) > 0
	return nil
}
