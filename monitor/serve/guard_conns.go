//go:build !guard_off_conns

package serve

// maxConns bounds how many callers there can be at once (class V28).
const maxConns = 256
