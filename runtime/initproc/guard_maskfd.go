//go:build !guard_off_maskfd

package initproc

// guardMaskFD makes sure that what hides a masked file is the null device.
// Tests compile it out to show that they would notice (security class V3).
const guardMaskFD = true
