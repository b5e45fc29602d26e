//go:build !guard_off_digest

package content

// guardDigest keeps no bytes under another digest than theirs (class V10).
const guardDigest = true
