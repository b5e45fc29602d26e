package monitor

import (
	"compress/gzip"
	"context"
	"io"
	"time"

	"berth/monitor/logread"
)

// Line is one entry of a log.
type Line = logread.Entry

// Reading says what of a log to read.
type Reading struct {
	Tail         int       // the last so many lines, -1 all
	Since, Until time.Time // zero: no bound
	Follow       bool
	// Ended, with Follow, is closed when nothing more will be written: when the
	// watcher of the container's exit has it.
	Ended <-chan struct{}
}

// ReadLog calls each for every line of a container's log, in the order in which
// they were written. The error is of kind NotFound if there is none yet, and
// Unsupported if the driver keeps none.
func ReadLog(ctx context.Context, l Log, r Reading, each func(*Line) error) error {
	return logread.Read(ctx, logread.Options{
		Driver: l.Driver, Path: l.Path, Tail: r.Tail, Since: r.Since, Until: r.Until, Follow: r.Follow, Ended: r.Ended,
	}, each)
}

// CompressLog is the work of Words.Compress: a log file in, the same compressed
// out.
func CompressLog(out io.Writer, in io.Reader) error {
	z := gzip.NewWriter(out)
	if _, err := io.Copy(z, in); err != nil {
		return err
	}
	return z.Close()
}
