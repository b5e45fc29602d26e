//go:build !guard_off_dumpable

package initproc

// guardDumpable keeps the helper undumpable until it is the user's program (class V1).
const guardDumpable = true
