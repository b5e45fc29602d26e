// Command programs builds the programs that tests start in containers, each
// argument being FOLDER:NAME as bundle.Build takes them, so that the tests
// find them ready in the cache folder ($XDG_CACHE_HOME) of a machine without
// Go. It belongs to the tests, outside the rows.
package main

import (
	"fmt"
	"os"
	"strings"

	"berth/test/bundle"
)

func main() {
	for _, arg := range os.Args[1:] {
		folder, name, _ := strings.Cut(arg, ":")
		if _, err := bundle.Build(folder, name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
