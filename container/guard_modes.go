//go:build !guard_off_modes

package container

// folderMode keeps other users out of the folders of containers (classes V20, V22).
const folderMode = 0o700
