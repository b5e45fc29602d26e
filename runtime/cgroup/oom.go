package cgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/counters"
)

// OOM tells when the kernel ended a process of the container for want of memory.
type OOM struct {
	f     *os.File // eventfd (v1) or inotify (v2), non-blocking
	p     *place
	v2    bool
	kills uint64 // v2: oom_kill count seen last
}

// WatchOOM starts to listen. v1: an eventfd registered by cgroup.event_control
// (memory.rst, "OOM Control"); v2: inotify on memory.events. Errors: there is
// no memory controller for this container.
func (c *Cgroup) WatchOOM() (*OOM, error) {
	p := c.at("memory")
	if p == nil {
		return nil, errors.New("watch for out-of-memory: the container has no memory cgroup")
	}
	o := &OOM{p: p, v2: p.h == c.l.v2}
	var err error
	if o.v2 {
		err = o.startV2()
	} else {
		err = o.startV1()
	}
	if err != nil {
		return nil, fmt.Errorf("watch for out-of-memory in %s/%s: %w", p.h.mount, p.rel, err)
	}
	return o, nil
}

func (o *OOM) startV1() error {
	ctl, err := o.p.h.openAt(join(o.p.rel, "memory.oom_control"), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(ctl)
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	if _, err := o.p.h.write(o.p.rel, "cgroup.event_control", fmt.Sprintf("%d %d", ev, ctl)); err != nil {
		unix.Close(ev)
		return err
	}
	o.f = os.NewFile(uintptr(ev), "eventfd")
	return nil
}

func (o *OOM) startV2() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	// By descriptor, so that it is the very file of this cgroup.
	dir, err := o.p.h.openAt(o.p.rel, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		defer unix.Close(dir)
		for _, file := range []string{"memory.events", "cgroup.events"} {
			if _, err = unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d/%s", dir, file), unix.IN_MODIFY|unix.IN_DELETE_SELF); err != nil {
				break
			}
		}
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	o.f = os.NewFile(uintptr(fd), "inotify")
	o.kills, err = o.count()
	return err
}

// File is for the caller's own poll(2); it stays the OOM's.
func (o *OOM) File() *os.File { return o.f }

// Wait returns nil for each new out-of-memory kill, io.EOF when the cgroup is
// gone, or ctx's error.
func (o *OOM) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.f.SetReadDeadline(time.Unix(0, 0)) })
	defer stop()
	buf := make([]byte, 4096)
	for {
		if o.v2 {
			if kills, err := o.count(); err != nil {
				return io.EOF
			} else if kills > o.kills {
				o.kills = kills
				return nil
			}
			if err := o.watchRemoval(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := o.f.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// Perhaps an earlier call's; whether it is ours is seen above.
			_ = o.f.SetReadDeadline(time.Time{})
			continue
		}
		if err != nil {
			return err
		}
		if o.v2 {
			continue
		}
		// The removal of a v1 cgroup wakes the eventfd as well.
		if _, err := o.p.h.read(o.p.rel, "memory.oom_control", 4096); err != nil {
			return io.EOF
		}
		if n == 8 && binary.NativeEndian.Uint64(buf) > 0 {
			return nil
		}
	}
}

// watchRemoval has the next read wake up now and then while no process is
// inside: the kernel sends no inotify event for the removal of a cgroup.
func (o *OOM) watchRemoval() error {
	s, err := o.p.h.readString(o.p.rel, "cgroup.events")
	if err != nil {
		return io.EOF
	}
	if strings.Contains(s, "populated 1") {
		return o.f.SetReadDeadline(time.Time{})
	}
	return o.f.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
}

// Close stops listening.
func (o *OOM) Close() error { return o.f.Close() }

func (o *OOM) count() (uint64, error) {
	s, err := o.p.h.readString(o.p.rel, "memory.events")
	if err != nil {
		return 0, err
	}
	return counters.Flat(s)["oom_kill"], nil
}

// OOMKills returns how many processes were ended for want of memory so far.
// Kernels without the count (v1 before 4.13) give 0.
func (c *Cgroup) OOMKills() (uint64, error) {
	p := c.at("memory")
	if p == nil {
		return 0, nil
	}
	file := "memory.oom_control"
	if p.h == c.l.v2 {
		file = "memory.events"
	}
	s, err := p.h.readString(p.rel, file)
	if err != nil {
		return 0, fmt.Errorf("read %s/%s/%s: %w", p.h.mount, p.rel, file, err)
	}
	return counters.Flat(s)["oom_kill"], nil
}
