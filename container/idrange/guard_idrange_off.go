//go:build guard_off_idrange

package idrange

const guardIDRange = false
