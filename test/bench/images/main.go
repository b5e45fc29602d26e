// Command images measures berth's image verbs beside docker's and podman's, from
// one registry on one machine in one run, and prints each ratio beside its goal
// as met or missed. It exits 0 when everything could be measured.
//
//	go run ./test/bench/images [-rounds 3] [-mb 600] [-files 24000] [-tiny 1000]
//
// A measurement ends with the command and a syncfs(2) of the engine's disk, for
// peers too; each engine and the registry have a disk of their own, a loop
// device, and each pull a new one. It needs root and Debian's docker.io, podman
// and docker-registry; the files of its big image come from /usr of this
// machine. Outside the rows.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

type options struct {
	rounds, mb, files, tiny int
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each pull; the median counts")
	flag.IntVar(&o.mb, "mb", 600, "size of the big image in MB")
	flag.IntVar(&o.files, "files", 24000, "files of the big image")
	flag.IntVar(&o.tiny, "tiny", 1000, "number of tiny images")
	flag.Parse()
	if err := bench(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(o options) error {
	s, err := newStage()
	if err != nil {
		return err
	}
	defer s.remove()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stopped
		s.remove()
		os.Exit(1)
	}()
	var t table
	for _, part := range []func(*table, options) error{s.pulls, s.tinies} {
		if err := part(&t, o); err != nil {
			return err
		}
	}
	t.print(os.Stdout)
	return nil
}
