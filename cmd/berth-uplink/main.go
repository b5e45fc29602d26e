// Command berth-uplink is the way out of an ordinary user's network namespace: a network
// stack in user mode, on the host's side. It only hands its words to package
// rootless/uplink. Row 7.
package main

import (
	"os"

	"berth/rootless/uplink"
)

func main() { os.Exit(uplink.Main(os.Args[1:])) }
