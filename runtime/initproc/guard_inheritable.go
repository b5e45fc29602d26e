//go:build !guard_off_inheritable

package initproc

// guardInheritable keeps the inheritable capabilities to what the spec names (class V18).
const guardInheritable = true
