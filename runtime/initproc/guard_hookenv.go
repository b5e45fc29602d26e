//go:build !guard_off_hookenv

package initproc

// guardHookEnv gives hooks no environment but their own (class V14).
const guardHookEnv = true
