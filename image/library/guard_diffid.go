//go:build !guard_off_diffid

package library

// guardDiffID compares a layer's content with the image's configuration (class V15).
const guardDiffID = true
