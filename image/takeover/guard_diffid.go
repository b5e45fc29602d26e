//go:build !guard_off_diffid

package takeover

// guardDiffID compares what another store's files make with the layer's digest (class V15).
const guardDiffID = true
