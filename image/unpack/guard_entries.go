//go:build !guard_off_entries

package unpack

// DefaultEntries bounds the entries of a layer (class V9).
const DefaultEntries = 1 << 20
