//go:build guard_off_claims

package nft

const guardClaims = false
