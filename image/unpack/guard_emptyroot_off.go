//go:build guard_off_emptyroot

package unpack

const guardEmptyRoot = false
