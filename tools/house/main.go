// Command house checks the walls of the source tree: who may import whom,
// through which door, how large things may grow, and which calls are barred
// because they once hurt somebody. It reads source files and asks the go
// command for package lists; it is not a style checker (that is staticcheck)
// and not part of any program of berth. Outside the rows.
//
//	go run ./tools/house [folder]     print findings, exit 1 if there are any
//	go test ./tools/house             the same on this module, and the walls' own tests
//
// A finding is one line: file:line: rule: reason. A line that must break a
// rule says so on the line itself or on the one above:
//
//	//house:allow RULE reason in a few words
//
// An allowance that nothing needs is a finding too.
package main

import (
	"fmt"
	"os"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	m, err := load(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(2)
	}
	report := check(m)
	report.add(checkLinked(root)...)
	for _, f := range report.findings {
		fmt.Println(f)
	}
	fmt.Print(report.softSummary())
	if len(report.findings) > 0 {
		fmt.Printf("house: %d findings\n", len(report.findings))
		os.Exit(1)
	}
}
