// Command berth-box is the one program of the built-in image localhost/berth/base:
// a shell and the everyday tools, which it is by the name it is called. It runs
// in containers only and knows nothing of berth. Row 7.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"berth/cmd/berth-box/applet"
	"berth/cmd/berth-box/early"
	"berth/cmd/berth-box/shell"
)

func main() {
	debug.SetGCPercent(400)
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "berth-box" && len(args) > 0 {
		if args[0] == "--list" {
			for _, n := range slices.Concat(applet.Names(), early.Names[:], []string{"sh", "test", "[", "printf"}) {
				fmt.Println(n)
			}
			return
		}
		name, args = args[0], args[1:]
	}
	switch name {
	case "sh", "-sh", "bash", "ash":
		os.Exit(shell.Main(args))
	case "test", "printf":
		os.Exit(shell.Main(append([]string{"-c", name + ` "$@"`, name}, args...)))
	case "[":
		os.Exit(shell.Main(append([]string{"-c", `[ "$@"`, name}, args...)))
	case "true":
		return
	case "false":
		os.Exit(1)
	}
	run := applet.Find(name)
	if run == nil {
		fmt.Fprintf(os.Stderr, "berth-box: no tool %q here: try berth-box --list\n", name)
		os.Exit(127)
	}
	os.Exit(run(name, args))
}
