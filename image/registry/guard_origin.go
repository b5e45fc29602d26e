//go:build !guard_off_origin

package registry

// guardOrigin keeps credentials to the host that they are for (class V11).
const guardOrigin = true
