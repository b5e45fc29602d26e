package monitor

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"berth/monitor/logread"
	"berth/monitor/logsend"
	"berth/sys/confine"
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

// LogInfo is what log drivers may tell of a container.
type LogInfo = logsend.Info

// SendsLog tells whether a log driver sends the output elsewhere: by a program
// beside the monitor, see Log.Send.
func SendsLog(driver string) bool { return logsend.Known(driver) }

// CheckLog looks at the options of a driver that sends; others it takes.
func CheckLog(driver string, options map[string]string) error { return logsend.Check(driver, options) }

// TryLog connects to a log driver's target and leaves it again. Its error is
// docker's of a start.
func TryLog(driver string, i *LogInfo) error {
	t, err := logsend.Open(driver, i)
	if err != nil {
		return err
	}
	return t.Close()
}

// head is what Log.Send is told first, as one line.
type head struct {
	Driver string
	Info   *LogInfo
}

// maxHead bounds that line.
const maxHead = 1 << 20

// LogHead makes Log.Head: the driver, and what it may tell of the container.
func LogHead(driver string, i *LogInfo) (string, error) {
	some, err := i.Needed()
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(head{driver, some})
	return string(b) + "\n", err
}

// SendLog is the work of Log.Send: a head and entries in, to the driver's
// target. Of the file system it leaves itself what the resolving of names reads.
func SendLog(in io.Reader, warn func(error)) error {
	r := bufio.NewReaderSize(in, 64<<10)
	line, err := firstLine(r)
	if err != nil {
		return fmt.Errorf("learn where to send a log: %w", err)
	}
	var h head
	if err := json.Unmarshal(line, &h); err != nil || h.Info == nil {
		return fmt.Errorf("learn where to send a log: %w", err)
	}
	t, err := logsend.Open(h.Driver, h.Info)
	if err != nil {
		return err
	}
	defer t.Close()
	_, _ = time.Now().Zone() // reads the time zone while it can
	_, err = confine.Restrict(confine.AllThreads, &confine.Files{AnyTCP: true, Paths: []confine.Path{
		{Path: "/etc", Access: confine.Read}, {Path: "/run/systemd/resolve", Access: confine.Read},
	}})
	if err != nil {
		return err
	}
	return logsend.Run(r, t, h.Info.Config, warn)
}

func firstLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil || err != bufio.ErrBufferFull || len(line) > maxHead {
			return line, err
		}
	}
}

// LogAttributes is the JSON object that stands in each line of a json-file log,
// "" for none.
func LogAttributes(i *LogInfo) (string, error) {
	attrs, err := i.ExtraAttributes(nil)
	if err != nil {
		return "", err
	}
	if i.Config["tag"] != "" {
		if attrs["tag"], err = i.Tag(logsend.DefaultTag); err != nil {
			return "", err
		}
	}
	if len(attrs) == 0 {
		return "", nil
	}
	b, err := json.Marshal(attrs)
	return string(b), err
}
