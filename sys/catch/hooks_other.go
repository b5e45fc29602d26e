//go:build !amd64

package catch

import (
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hooks are a channel of os/signal.
type hooks struct{ ch chan os.Signal }

func (h *hooks) start(list []unix.Signal) error {
	h.ch = make(chan os.Signal, 64)
	for _, s := range list {
		signal.Notify(h.ch, s)
	}
	go func() {
		for s := range h.ch {
			pending.Or(1 << (s.(unix.Signal) - 1))
			_, _ = unix.Write(int(wake), unsafe.Slice((*byte)(unsafe.Pointer(&one)), 8))
		}
	}()
	return nil
}

func (h *hooks) stop() {
	signal.Stop(h.ch)
	close(h.ch)
}
