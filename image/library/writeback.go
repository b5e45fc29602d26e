package library

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// writebackPause is how long nothing is written between two rounds.
const writebackPause = 500 * time.Millisecond

// writeback has the kernel write, of the file system of dir, what is being unpacked while more of it comes,
// round after round until stop: the disk is busy with one part while the
// processors are with the next, and the sync before the name finds little left.
// It is no promise: Sync makes durable. What stop gives has an error of the
// disk, or nil, when the last round has ended.
//
// It uses a descriptor of its own, for a failed write is told once to each:
// what Sync must hear of stays there.
func writeback(dir string) (stop func() <-chan error) {
	end, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- writeUntil(dir, end) }()
	return func() <-chan error {
		close(end)
		return done
	}
}

func writeUntil(folder string, end <-chan struct{}) error {
	for {
		select {
		case <-end:
			return nil
		case <-time.After(writebackPause):
		}
		dir, err := os.Open(folder)
		if err != nil {
			return err
		}
		err = unix.Syncfs(int(dir.Fd()))
		dir.Close()
		if err != nil {
			return fmt.Errorf("write layers to the disk of %s: %w", dir.Name(), err)
		}
	}
}
