//go:build guard_off_diffid

package library

const guardDiffID = false
