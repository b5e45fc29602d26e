//go:build !guard_off_document

package registry

// maxManifest is the cap on a manifest that a registry sends, or takes (class V9).
const maxManifest = 4 << 20
