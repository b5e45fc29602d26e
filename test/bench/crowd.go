package main

import (
	"os/exec"
	"time"
)

// together keeps width runs going until total are done. All are started from
// this thread, whose mount namespace they inherit.
func (s *stage) together(total, width int, program string, args func(...string) []string) (time.Duration, error) {
	begin := time.Now()
	done := make(chan error, width)
	started := 0
	launch := func() error {
		cmd := exec.Command(program, args("run", "--bundle", s.dir, s.id())...)
		if err := cmd.Start(); err != nil {
			return err
		}
		started++
		go func() { done <- cmd.Wait() }()
		return nil
	}
	for range width {
		if err := launch(); err != nil {
			return 0, err
		}
	}
	for finished := 0; finished < total; finished++ {
		if err := <-done; err != nil {
			return 0, err
		}
		if started < total {
			if err := launch(); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(begin), nil
}
