//go:build !guard_off_modes

package serve

// socketMode lets nobody but its owner connect (classes V20, V22).
const socketMode = 0o600
