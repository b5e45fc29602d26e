// Package serve is the monitor: the process that stands beside one container,
// as the helper's word "monitor". It is the parent of the container's processes,
// holds their streams, writes the log, tells how they ended, and starts berth by
// its pinned path to do what follows.
//
//	output  FIFO or terminal → log, clients     child   clone, reap, adopt
//	input   clients → FIFO or terminal          exit    what happens when the first process ends
//	conn    requests of the engine              session execs
//	streams FIFOs and the terminal              word    programs by pinned path
//	loop    one thread, epoll, timers           watch   who waits for an exit
//
// It copies bytes and parses none; it decides nothing of a container's life. It
// holds nothing of the engine or of the runtime's parent side, and links neither
// fmt nor encoding/json, so that it stays small: no goroutines, no buffers beyond
// a few fixed ones. Row 4, and the second door of room monitor for the helper.
package serve

import (
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"

	"berth/sys/catch"
	"berth/sys/detach"
)

// Main is the life of a monitor that the engine started with its end of a
// socket. It returns the exit code.
func Main(sock int) int {
	m, err := begin(sock)
	if err != nil {
		return 1
	}
	if err := m.loop.run(); err != nil {
		return 1
	}
	return 0
}

func begin(sock int) (*monitor, error) {
	if err := leave(sock); err != nil {
		return nil, err
	}
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	m := newMonitor(l)
	if err := m.listenTo(sock, true); err != nil {
		return nil, err
	}
	return m, nil
}

// leave leaves all that was the engine's. Signals that end a session or a service do
// not end a monitor; a handler, unlike SIG_IGN, is not inherited by the container's
// processes.
func leave(sock int) error {
	if err := detach.From(sock); err != nil {
		return err
	}
	unix.Umask(0o022) // the container's processes inherit it
	honour()
	_, err := catch.Start([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2})
	return err
}

// rest collects garbage and gives the memory back to the kernel. It is
// debug.FreeOSMemory, of a package that links fmt; the runtime keeps the name
// open for it.
//
//go:linkname rest runtime/debug.freeOSMemory
func rest()
