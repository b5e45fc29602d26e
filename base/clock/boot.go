package clock

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// statLimit is more than /proc/stat has in bytes, with a line for each processor.
const statLimit = 8 << 20

// BootTime is when this kernel was started, to the second (proc_stat(5), btime).
func BootTime() (time.Time, error) { return bootTime() }

var bootTime = sync.OnceValues(func() (time.Time, error) {
	b, err := atomicfile.ReadCapped("/proc/stat", statLimit)
	if err != nil {
		return time.Time{}, fmt.Errorf("boot time: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "btime "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("boot time: %w", err)
			}
			return time.Unix(n, 0).UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Unavailable, "boot time: the kernel does not tell")
})
