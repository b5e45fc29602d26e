//go:build guard_off_diffid

package takeover

const guardDiffID = false
