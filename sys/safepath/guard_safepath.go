//go:build !guard_off_safepath

package safepath

// guardSafepath keeps lookups inside the root. Tests compile it out to show
// that they would notice (security classes V5, V6).
const guardSafepath = true
