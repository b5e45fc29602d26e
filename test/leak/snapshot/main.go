// Command snapshot prints what package leak sees, or what changed since:
//
//	snapshot [-strict] [-folder DIR]… [-name PREFIX]… > before.json
//	snapshot [-strict] [-folder DIR]… [-name PREFIX]… -since before.json
//
// Processes with the same BERTH_LEAK=… as in its own environment are in
// scope. The second form prints one line for each thing left behind and exits 1 if
// there is one. It is for scripts and for looking by hand; tests call the
// package. It belongs to the tests, outside the rows.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"berth/test/leak"
)

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	cfg := leak.Config{Token: os.Getenv("BERTH_LEAK"), Except: []leak.Kind{leak.FD}} // the open files are this command's own
	flag.BoolVar(&cfg.Strict, "strict", false, "everything on the machine counts")
	flag.Var((*list)(&cfg.Folders), "folder", "store or run folder")
	flag.Var((*list)(&cfg.Names), "name", "beginning of the names of cgroups, links, nft tables, keys")
	since := flag.String("since", "", "an earlier output to compare with")
	flag.Parse()
	lines, err := run(cfg, *since)
	if err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(2)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
	if len(lines) > 0 {
		os.Exit(1)
	}
}

// run prints a snapshot, or gives the differences to an earlier one.
func run(cfg leak.Config, since string) ([]string, error) {
	if since == "" {
		s, err := leak.Take(cfg)
		if err != nil {
			return nil, err
		}
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "\t")
		return nil, enc.Encode(s)
	}
	data, err := os.ReadFile(since)
	if err != nil {
		return nil, err
	}
	var before leak.Snapshot
	if err := json.Unmarshal(data, &before); err != nil {
		return nil, fmt.Errorf("read %s: %w", since, err)
	}
	return leak.Compare(cfg, before, leak.Settle)
}
