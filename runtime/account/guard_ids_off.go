//go:build guard_off_ids

package account

const maxID = 1<<64 - 1
