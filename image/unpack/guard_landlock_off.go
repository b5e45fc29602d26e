//go:build guard_off_landlock

package unpack

const guardLandlock = false
