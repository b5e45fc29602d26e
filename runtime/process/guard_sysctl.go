//go:build !guard_off_sysctl

package process

// guardSysctl keeps containers from setting the host's parameters (class V13).
const guardSysctl = true
