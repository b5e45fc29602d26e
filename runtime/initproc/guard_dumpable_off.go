//go:build guard_off_dumpable

package initproc

const guardDumpable = false
