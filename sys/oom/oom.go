// Package oom says how soon the kernel takes this process when memory is short:
// proc_pid_oom_score_adj(5).
//
// It is for helpers that live on, to whom it is best effort; what a container asks for is
// set and checked by room runtime. It links no fmt. Row 1.
package oom

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// TryAdjust sets oom_score_adj, from -1000 to 1000, if that is allowed: lowering it takes
// CAP_SYS_RESOURCE.
func TryAdjust(v int) {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte(strconv.Itoa(v)))
	unix.Close(fd)
}
