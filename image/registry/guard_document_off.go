//go:build guard_off_document

package registry

const maxManifest = 4 << 40
