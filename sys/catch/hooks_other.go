//go:build !amd64

package catch

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// hooks are a channel of os/signal.
type hooks struct{ ch chan os.Signal }

func (h *hooks) start(list []unix.Signal, fd int) error {
	h.ch = make(chan os.Signal, 64)
	for _, s := range list {
		signal.Notify(h.ch, s)
	}
	go func() {
		for s := range h.ch {
			if int(wake.Load()) != fd {
				continue // a newer one gets it too
			}
			pending.Or(1 << (s.(unix.Signal) - 1))
			ring(fd)
		}
	}()
	return nil
}

func (h *hooks) stop() {
	signal.Stop(h.ch)
	close(h.ch)
}
