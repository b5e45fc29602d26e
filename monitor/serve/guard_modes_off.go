//go:build guard_off_modes

package serve

const socketMode = 0o666
