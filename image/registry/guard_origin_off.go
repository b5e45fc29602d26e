//go:build guard_off_origin

package registry

const guardOrigin = false
