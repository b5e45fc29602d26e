//go:build !guard_off_ids

package account

// maxID is the largest id that can be had (class V12): 4294967295 means "none".
const maxID = 1<<32 - 2
