//go:build guard_off_digest

package manifest

const guardDigest = false
