// Package early reads what Go's own start-up changes before main runs: the
// soft limit of open files, which package syscall raises in its init.
//
// It imports nothing, and its path sorts before package syscall's, so that
// the linker's order of initialisation puts it first. It is for the probe
// only, outside the rows.
package early

// OpenFiles is RLIMIT_NOFILE as the process got it from execve(2): soft,
// hard. OK tells whether the kernel answered.
var (
	OpenFiles [2]uint64
	OK        bool
)

// getrlimit is prlimit64(0, resource, NULL, out); it returns the kernel's
// answer, 0 or a negative errno.
//
//go:noescape
func getrlimit(resource uintptr, out *[2]uint64) int64

func init() { OK = getrlimit(7, &OpenFiles) == 0 }
