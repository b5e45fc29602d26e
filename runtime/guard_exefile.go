//go:build !guard_off_exefile

package runtime

// guardExeFile keeps our own file out of a container's reach (class V1); without it a test must fail.
const guardExeFile = true
