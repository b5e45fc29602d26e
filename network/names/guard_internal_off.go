//go:build guard_off_internal

package names

const guardInternal = false
