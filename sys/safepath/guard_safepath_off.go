//go:build guard_off_safepath

package safepath

const guardSafepath = false
