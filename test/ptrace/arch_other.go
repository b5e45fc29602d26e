//go:build !amd64

package ptrace

// arch is none: nothing is stopped at.
const arch = 0
