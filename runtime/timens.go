package runtime

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// writeTimeOffsets sets the clocks of a new time namespace before anybody is
// in it: time_namespaces(7).
func writeTimeOffsets(pid int, offsets map[string]specs.LinuxTimeOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	var b []byte
	for clockName, o := range offsets {
		if clockName != "monotonic" && clockName != "boottime" {
			return fmt.Errorf("linux.timeOffsets: %q is not a clock that has an offset, only monotonic and boottime", clip(clockName))
		}
		b = fmt.Appendf(b, "%s %d %d\n", clockName, o.Secs, o.Nanosecs)
	}
	path := fmt.Sprintf("/proc/%d/timens_offsets", pid)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("linux.timeOffsets: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("linux.timeOffsets: write %s: %w", path, err)
	}
	return nil
}
