//go:build guard_off_maskfd

package initproc

const guardMaskFD = false
