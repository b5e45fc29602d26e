//go:build guard_off_inheritable

package initproc

const guardInheritable = false
