//go:build !guard_off_digest

package manifest

// guardDigest takes no document for one that has another digest (class V10).
const guardDigest = true
