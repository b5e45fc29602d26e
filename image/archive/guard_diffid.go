//go:build !guard_off_diffid

package archive

// guardDiffID compares an archive's layers with its configuration (class V15).
const guardDiffID = true
