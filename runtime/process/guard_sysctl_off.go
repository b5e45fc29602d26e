//go:build guard_off_sysctl

package process

const guardSysctl = false
