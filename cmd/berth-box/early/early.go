// Package early answers true and false before any other package of the program
// has been initialised: since Go 1.21 packages are initialised in the order of
// their import paths, as far as what they import allows, and this one imports
// os alone. It is not for anything that needs more. Row 7.
package early

import "os"

// Names are the words that end here, at each start.
var Names = [...]string{"true", "false"}

//house:allow init the answer has to come before the other packages' own
func init() {
	if len(os.Args) == 0 {
		return
	}
	name := os.Args[0]
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	switch name {
	case "true":
		os.Exit(0)
	case "false":
		os.Exit(1)
	}
}
