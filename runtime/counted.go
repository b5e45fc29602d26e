package runtime

import (
	"berth/runtime/cgroup"
	"berth/runtime/cgroup/counters"
)

// What Runtime.Stats returns, under names that other rooms can use.
type (
	// Stats is the use of resources of one container.
	Stats = cgroup.Stats
	// MemoryData is the use of one kind of memory.
	MemoryData = counters.MemoryData
	// BlkioEntry is one number of one block device.
	BlkioEntry = counters.BlkioEntry
	// PSI is pressure stall information.
	PSI = counters.PSI
)
