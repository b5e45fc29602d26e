//go:build guard_off_procfd

package initproc

const guardProcFD = false
