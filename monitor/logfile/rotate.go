package logfile

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Packed is the suffix of a compressed file.
const Packed = ".gz"

// rotate moves the files one on and begins a new one: LOG → LOG.1 → LOG.2 …; the
// oldest goes. While LOG.1 is being compressed the current file grows on: names
// must not move under the compressing program. Where a rename fails the current
// file grows on too, rather than lose what it holds.
func (l *Log) rotate() {
	path := l.opts.Path
	if l.opts.MaxFile < 2 {
		_ = l.open(unix.O_TRUNC)
		return
	}
	if l.packing {
		return
	}
	oldest := Old(path, l.opts.MaxFile-1)
	_ = unix.Unlink(oldest)
	_ = unix.Unlink(oldest + Packed)
	for i := l.opts.MaxFile - 1; i > 1; i-- {
		_ = unix.Rename(Old(path, i-1), Old(path, i))
		_ = unix.Rename(Old(path, i-1)+Packed, Old(path, i)+Packed)
	}
	if err := unix.Rename(path, Old(path, 1)); err != nil {
		return
	}
	if err := l.open(0); err != nil { // we write on into LOG.1
		_ = unix.Rename(Old(path, 1), path)
		return
	}
	if l.opts.Compress && l.pack != nil {
		l.packing = l.pack(Old(path, 1))
	}
}

// Old names the i-th older file of a log, from 1.
func Old(path string, i int) string { return path + "." + strconv.Itoa(i) }

// Packed says that the compression has ended: PATH.gz is complete, and PATH can
// go, if ok.
func (l *Log) Packed(path string, ok bool) {
	if l == nil {
		return
	}
	l.packing = false
	if ok {
		_ = unix.Unlink(path)
	} else {
		_ = unix.Unlink(path + Packed)
	}
}
