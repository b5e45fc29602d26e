package nft

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// Install makes the table anew with these elements, in one transaction: at no
// moment is it half there. What was in it before is gone.
func (c *Conn) Install(elements []Element) error {
	// Deleting what is not there fails, so it is made first.
	list := []netlink.Request{
		c.tableRequest(unix.NFT_MSG_NEWTABLE, inet), c.tableRequest(unix.NFT_MSG_NEWTABLE, bridge),
		c.tableRequest(unix.NFT_MSG_DELTABLE, inet), c.tableRequest(unix.NFT_MSG_DELTABLE, bridge),
	}
	list = append(list, c.ruleset()...)
	list = append(list, c.elementRequests(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, elements)...)
	if i, err := c.commit(list); err != nil {
		return fmt.Errorf("install the firewall (step %d of %d): %w", i+1, len(list), err)
	}
	return nil
}

// Uninstall removes the table.
func (c *Conn) Uninstall() error {
	for _, family := range []byte{inet, bridge} {
		_, err := c.commit([]netlink.Request{c.tableRequest(unix.NFT_MSG_DELTABLE, family)})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove the firewall: %w", err)
		}
	}
	return nil
}

func (c *Conn) tableRequest(kind uint16, family byte) netlink.Request {
	flags := uint16(0)
	if kind == unix.NFT_MSG_NEWTABLE {
		flags = unix.NLM_F_CREATE
	}
	return message(kind, family, flags, attrs(nil).text(unix.NFTA_TABLE_NAME, c.table))
}

// ruleset is all but the elements.
func (c *Conn) ruleset() []netlink.Request {
	list := []netlink.Request{c.tableRequest(unix.NFT_MSG_NEWTABLE, inet), c.tableRequest(unix.NFT_MSG_NEWTABLE, bridge)}
	for i, s := range sets {
		list = append(list, c.setRequest(s, uint32(i+1)))
	}
	all := chains(c.ports, c.Relays)
	for _, ch := range all {
		list = append(list, c.chainRequest(ch))
	}
	for _, ch := range all {
		for _, r := range ch.rules {
			list = append(list, c.ruleRequest(ch, r))
		}
	}
	return list
}

func (c *Conn) setRequest(s set, id uint32) netlink.Request {
	flags := uint32(0)
	keyType, keySize := datatype(s.key)
	a := attrs(nil).text(unix.NFTA_SET_TABLE, c.table).text(unix.NFTA_SET_NAME, s.name).number(unix.NFTA_SET_ID, id).
		number(unix.NFTA_SET_KEY_TYPE, keyType).number(unix.NFTA_SET_KEY_LEN, keySize)
	if s.data != nil {
		flags |= unix.NFT_SET_MAP
		dataType, dataSize := datatype(s.data)
		a = a.number(unix.NFTA_SET_DATA_TYPE, dataType).number(unix.NFTA_SET_DATA_LEN, dataSize)
	}
	if s.interval {
		flags |= unix.NFT_SET_INTERVAL
		if len(s.key) > 1 {
			flags |= setFlagConcat
			var fields attrs
			for _, t := range s.key {
				fields = fields.nest(listElement, attrs(nil).number(fieldLength, typeSize[t]))
			}
			a = a.nest(unix.NFTA_SET_DESC, attrs(nil).nest(descConcat, fields))
		}
	}
	a = a.number(unix.NFTA_SET_FLAGS, flags)
	if s.key[0] == typeDevice {
		// For nft(8) alone: names are not in network byte order.
		a = a.bytes(unix.NFTA_SET_USERDATA, append([]byte{0, 4}, binary.NativeEndian.AppendUint32(nil, 1)...))
	}
	return message(unix.NFT_MSG_NEWSET, s.family, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a)
}

// datatype is the type and size in bytes of a key or of data.
func datatype(parts []uint32) (kind, size uint32) {
	if len(parts) == 1 {
		return parts[0], typeSize[parts[0]]
	}
	for _, t := range parts {
		kind = kind<<6 | t
		size += (typeSize[t] + 3) &^ 3
	}
	return kind, size
}

func (c *Conn) chainRequest(ch chain) netlink.Request {
	a := attrs(nil).text(unix.NFTA_CHAIN_TABLE, c.table).text(unix.NFTA_CHAIN_NAME, ch.name)
	if ch.kind != "" {
		a = a.nest(unix.NFTA_CHAIN_HOOK, attrs(nil).number(unix.NFTA_HOOK_HOOKNUM, ch.hook).
			number(unix.NFTA_HOOK_PRIORITY, uint32(ch.priority)))
		a = a.number(unix.NFTA_CHAIN_POLICY, nfAccept).text(unix.NFTA_CHAIN_TYPE, ch.kind)
	}
	return message(unix.NFT_MSG_NEWCHAIN, ch.family, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a)
}

func (c *Conn) ruleRequest(ch chain, r rule) netlink.Request {
	a := attrs(nil).text(unix.NFTA_RULE_TABLE, c.table).text(unix.NFTA_RULE_CHAIN, ch.name).nest(unix.NFTA_RULE_EXPRESSIONS, expressionList(r))
	return message(unix.NFT_MSG_NEWRULE, ch.family, unix.NLM_F_CREATE|unix.NLM_F_APPEND, a)
}

// Fingerprint is a digest of the rules and chains as the kernel has them now, ""
// if there is no table. It tells whether anybody changed them.
func (c *Conn) Fingerprint() (string, error) {
	h := sha256.New()
	seen := false
	for _, ask := range []struct {
		kind  uint16
		table uint16   // the attribute with the table's name
		skip  []uint16 // attributes that say nothing of the content
	}{
		{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, []uint16{unix.NFTA_CHAIN_HANDLE, unix.NFTA_CHAIN_USE, unix.NFTA_CHAIN_COUNTERS}},
		{unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, []uint16{unix.NFTA_RULE_HANDLE, unix.NFTA_RULE_POSITION}},
	} {
		for _, family := range []byte{inet, bridge} {
			list, err := c.dump(ask.kind, family, attrs(nil).text(ask.table, c.table))
			if err != nil {
				return "", err
			}
			for _, attributes := range list {
				if text(attributes, ask.table) != c.table {
					continue
				}
				seen = true
				for _, a := range attributes {
					if !slices.Contains(ask.skip, a.Type) {
						fmt.Fprintf(h, "%d %d %x\n", family, a.Type, a.Data)
					}
				}
			}
		}
	}
	if !seen {
		return "", nil
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
