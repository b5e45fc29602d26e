//go:build !guard_off_beneath

package unpack

import "golang.org/x/sys/unix"

// resolve keeps the lookup of every folder in the layer, and from following links (class V8).
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
