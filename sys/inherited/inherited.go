// Package inherited remembers what the process was started with and the Go
// runtime has changed since: package syscall raises the soft limit of open
// files in its init. A child made by package clone would otherwise get the
// raised limit, which breaks programs that use select(2).
//
// It imports nothing, so that its own init comes before that of package
// syscall: packages without a reason to wait are initialized in the order of
// their import paths (Go specification, "Program initialization"). Row 1.
package inherited

import _ "unsafe" // for linkname

// NOFILE is RLIMIT_NOFILE as inherited; zero if unknown.
var NOFILE struct{ Soft, Hard uint64 }

const resourceNOFILE = 7
