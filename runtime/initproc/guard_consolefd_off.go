//go:build guard_off_consolefd

package initproc

const guardConsoleFD = false
