// Command berth-oci is an OCI runtime with runc's command line. It only puts
// package cli/oci on top of package runtime. Row 7.
package main

import (
	"os"
	"runtime/debug"

	"berth/cli/oci"
	"berth/runtime"
)

// memoryLimit is where the garbage collector begins to work: most runs end long
// before, and a hostile configuration cannot take more than this for long.
const memoryLimit = 64 << 20

func main() {
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(-1)
	os.Exit(oci.Main(os.Args, open))
}

func open(o oci.Options) oci.Runtime {
	return &runtime.Runtime{Root: o.Root, SystemdCgroup: o.SystemdCgroup, Rootless: o.Rootless, Warn: o.Warn}
}
