//go:build guard_off_beneath

package unpack

const resolve = 0
