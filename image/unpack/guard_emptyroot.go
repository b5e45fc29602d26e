//go:build !guard_off_emptyroot

package unpack

// guardEmptyRoot leaves the host's files behind before a foreign byte is read (class V8).
const guardEmptyRoot = true
