package network

import "berth/network/nft"

// FirewallReachable asks the kernel's nf_tables, in the caller's network namespace,
// for its state. The error says why berth could make no rules there.
func FirewallReachable() error {
	c, err := nft.Open(nft.Table, nft.Ports)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Generation()
	return err
}
