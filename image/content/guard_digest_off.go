//go:build guard_off_digest

package content

const guardDigest = false
