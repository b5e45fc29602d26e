// Command berth-helper is what a container's first process executes before it
// becomes the user's program; the other programs carry it inside. Package runtime
// starts it so, as "berth-helper init SOCKET", and package monitor starts
// a container's monitor, as "berth-helper monitor SOCKET". Package rootless starts
// a user's holder, as "berth-helper hold SOCKET", and package network the resolver of
// a network's names, as "berth-helper names SOCKET", and who leases a container's
// address, as "berth-helper dhcp SOCKET", and its relay of ports, as "berth-helper
// relay SOCKET". With --init it is also what the
// user's program is a child of, as "/sbin/docker-init -- PROGRAM". Row 7.
package main

import (
	"os"
	"runtime"
	"strconv"

	"berth/monitor/serve"
	"berth/network/dhcp"
	"berth/network/names"
	"berth/network/relay"
	"berth/rootless/hold"
	"berth/runtime/initproc"
	"berth/runtime/reaper"
)

// Namespaces, capabilities and filters are a thread's own, and execve(2) keeps
// only the calling one: the main goroutine must never leave the main thread.
//
//house:allow init the only way to hold the main goroutine on the main thread
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) > 2 && os.Args[1] == "--" {
		os.Exit(reaper.Main(os.Args[2:]))
	}
	words := map[string]func(sock int) int{"init": initproc.Main, "monitor": serve.Main, "hold": hold.Main, "names": names.Main, "dhcp": dhcp.Main, "relay": relay.Main}
	if len(os.Args) == 3 && words[os.Args[1]] != nil {
		if sock, err := strconv.Atoi(os.Args[2]); err == nil && sock > 2 {
			os.Exit(words[os.Args[1]](sock))
		}
	}
	os.Stderr.WriteString("berth-helper: only berth starts this program\n")
	os.Exit(1)
}
