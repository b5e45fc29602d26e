// Command berth-helper is what a container's first process executes before it
// becomes the user's program; berth-oci carries it inside. It is started by
// package runtime alone, as "berth-helper init SOCKET". Row 7.
package main

import (
	"os"
	"runtime"
	"strconv"

	"berth/runtime/initproc"
)

// Namespaces, capabilities and filters are a thread's own, and execve(2) keeps
// only the calling one: the main goroutine must never leave the main thread.
//
//house:allow init the only way to hold the main goroutine on the main thread
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 3 && os.Args[1] == "init" {
		if sock, err := strconv.Atoi(os.Args[2]); err == nil && sock > 2 {
			os.Exit(initproc.Main(sock))
		}
	}
	os.Stderr.WriteString("berth-helper: only berth's runtime starts this program\n")
	os.Exit(1)
}
