//go:build guard_off_hookenv

package initproc

const guardHookEnv = false
