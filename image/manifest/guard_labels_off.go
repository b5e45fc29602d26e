//go:build guard_off_labels

package manifest

const guardLabels = false
