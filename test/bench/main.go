// Command bench measures berth-oci beside crun, in one run and in interleaved
// pairs, and prints each ratio beside its goal as met or missed. It exits 0
// when everything could be measured, whatever the outcome.
//
//	go run ./test/bench [-pairs 200]
//
// It measures whole processes as the kernel accounts them (wait4(2)): wall time
// and CPU time of a command and all it has waited for. It needs root and
// Debian's crun. Row 7.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	pairs := flag.Int("pairs", 200, "interleaved pairs per measurement")
	flag.Parse()
	if err := bench(*pairs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(pairs int) error {
	s, err := newStage()
	if err != nil {
		return err
	}
	defer s.remove()
	var t table
	if err := s.runs(&t, pairs); err != nil {
		return err
	}
	if err := s.execs(&t, pairs); err != nil {
		return err
	}
	if err := s.crowd(&t, max(1, pairs/40)); err != nil {
		return err
	}
	t.print(os.Stdout)
	return nil
}
