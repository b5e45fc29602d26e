//go:build guard_off_modes

package container

const folderMode = 0o755
