//go:build !guard_off_labels

package manifest

// guardLabels takes orders from no image's labels (class V12).
const guardLabels = true
