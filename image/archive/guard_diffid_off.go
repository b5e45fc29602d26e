//go:build guard_off_diffid

package archive

const guardDiffID = false
