//go:build !guard_off_unpublished

package nft

// guardUnpublished keeps a network's ports that are not published from others (class V24).
const guardUnpublished = true
