//go:build !guard_off_internal

package names

// guardInternal has nobody asked for who is on internal networks alone (class V26).
const guardInternal = true
