//go:build guard_off_peer

package serve

const guardPeer = false
