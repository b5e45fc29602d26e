//go:build !guard_off_idrange

package idrange

// guardIDRange gives no two containers the same ids (class V31).
const guardIDRange = true
