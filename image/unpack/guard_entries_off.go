//go:build guard_off_entries

package unpack

const DefaultEntries = 1 << 40
