// Package clock tells what a stored time or pid still means: after a reboot,
// nothing. It does not read process start times; that is sys/proc. Row 0
// (base): standard library only.
package clock

import (
	"fmt"
	"strings"
	"sync"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// BootID returns the kernel's random id of this boot, 36 characters
// (random(4), /proc/sys/kernel/random/boot_id). Run state that names another
// boot is stale: its pids may belong to anyone now. It is read once, as no
// process outlives its boot.
func BootID() (string, error) { return bootID() }

var bootID = sync.OnceValues(func() (string, error) {
	b, err := atomicfile.ReadCapped("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if len(id) != 36 {
		return "", fault.New(fault.Unavailable, "boot id: the kernel gave %q", id)
	}
	return id, nil
})
