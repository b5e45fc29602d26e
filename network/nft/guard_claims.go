//go:build !guard_off_claims

package nft

// guardClaims bounds what a container may say of itself to its neighbours (class V25).
const guardClaims = true
