//go:build !guard_off_consolefd

package initproc

// guardConsoleFD keeps the lookup of /dev/console from following links (class V3).
const guardConsoleFD = true
