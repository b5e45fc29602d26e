package logread

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// follow reads on as the log grows. f is the current file, which it closes.
func (r *reader) follow(ctx context.Context, f *file) error {
	defer func() { f.Close() }()
	n, err := newNotifier(r.opts.Path)
	if err != nil {
		return err
	}
	defer n.close()
	for {
		ended := closed(r.opts.Ended) || !r.opts.Until.IsZero() && time.Now().After(r.opts.Until)
		// What was written before the end is there now.
		if err := r.read(ctx, f); err != nil {
			return err
		}
		next, known, err := r.rotated(f)
		if err != nil {
			return err
		}
		if next != nil {
			// What was written into the old file before it was rotated.
			if err := r.read(ctx, f); err != nil {
				closeAll(next)
				return err
			}
			if !known { // the times tell what is new
				r.skip = r.last
			}
			f.Close()
			for i, g := range next {
				if f = g; i < len(next)-1 {
					err := r.read(ctx, g)
					g.Close()
					if err != nil {
						closeAll(next[i+1:])
						return err
					}
				}
			}
			r.skip = time.Time{}
			continue
		}
		if ended {
			return nil
		}
		if err := n.wait(ctx, r.opts.Ended); err != nil {
			return err
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rotated returns the files that came after f, nil if it is the current one; if
// f is not known any more, as it is compressed by now, all there are.
func (r *reader) rotated(f *file) (next []*file, known bool, err error) {
	ours, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	now, err := os.Stat(r.opts.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, true, nil // between two renames, or removed: Ended tells
	}
	if err != nil {
		return nil, false, fmt.Errorf("look at log: %w", err)
	}
	if os.SameFile(ours, now) {
		if ours.Size() < f.at { // one file alone, begun anew
			f.at = 0
		}
		return nil, true, nil
	}
	files, err := openAll(r.opts.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	for i := len(files) - 1; i >= 0; i-- {
		if info, err := files[i].Stat(); err == nil && os.SameFile(ours, info) {
			closeAll(files[:i+1])
			return files[i+1:], true, nil
		}
	}
	return files, false, nil
}

// notifier tells that a log may have grown. Without inotify, of which a user has
// a limited number, it looks now and then.
type notifier struct{ f *os.File }

func newNotifier(path string) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		if _, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
			unix.Close(fd)
		}
	}
	switch {
	case err == nil:
		return &notifier{os.NewFile(uintptr(fd), "inotify")}, nil
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("follow log %s: %w", path, err)
	}
	return &notifier{}, nil
}

func (n *notifier) close() {
	if n.f != nil {
		n.f.Close()
	}
}

// wait returns when there may be more, or the end has come.
func (n *notifier) wait(ctx context.Context, ended <-chan struct{}) error {
	if n.f == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
		case <-time.After(200 * time.Millisecond):
		}
		return nil
	}
	if err := n.f.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
		case <-done:
			return
		}
		_ = n.f.SetReadDeadline(time.Unix(1, 0))
	}()
	var buf [4096]byte
	_, err := n.f.Read(buf[:])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return fmt.Errorf("follow log: %w", err)
}
