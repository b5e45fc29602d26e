//go:build guard_off_loopback

package nft

const guardLoopback = false
