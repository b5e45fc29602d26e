// Command berth is a container engine on one command line: docker's and
// podman's words, under its own name or under theirs. It only builds the parts
// and hands the words to the dialect that they are spoken in. Row 7.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"berth/cli/docker"
	"berth/engine"
	"berth/files"
	"berth/image"
	"berth/rootless"
	"berth/settings"
	"berth/sys/catch"
)

// memoryLimit is where the collector begins to work hard, in bytes.
const memoryLimit = 48 << 20

func main() {
	if len(os.Args) > 1 && os.Args[1] == image.WorkerWord {
		os.Exit(image.Worker(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == files.Word {
		os.Exit(files.Main(os.Args[2:]))
	}
	code, entered, why, err := rootless.Enter(holderRun())
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth:", err)
		os.Exit(1)
	}
	if entered {
		os.Exit(code)
	}
	// A verb lives for some milliseconds: the first collections cost it more than
	// the memory is worth. One that works with much collects as others do.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(memoryLimit)
	// The first interrupt lets the verb put things in order, a second one ends
	// the program at once.
	ctx, cancel := context.WithCancel(context.Background())
	_, err = catch.Each([]unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}, func(_ unix.Signal, stop func()) {
		cancel()
		stop()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth:", err)
		os.Exit(1)
	}
	os.Exit(docker.Main(ctx, docker.Request{
		Args: os.Args, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Load: load,
		Open: func(s *settings.Settings, g docker.Globals) (*engine.Engine, error) { return open(s, g, why) },
	}))
}
