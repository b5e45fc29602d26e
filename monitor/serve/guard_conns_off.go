//go:build guard_off_conns

package serve

const maxConns = 1 << 30
