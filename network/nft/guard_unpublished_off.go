//go:build guard_off_unpublished

package nft

const guardUnpublished = false
