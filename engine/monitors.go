package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/units"
	"berth/container"
	"berth/container/config"
	"berth/image"
	"berth/monitor"
	"berth/runtime"
	"berth/settings"
)

// Hidden words that monitors start berth with.
const (
	ExitedWord   = "container-exited"
	AgainWord    = "container-again"
	HealthWord   = "container-health"
	NamesWord    = "container-names"
	RelayWord    = "container-relay"
	CompressWord = "log-compress"
	SendWord     = "log-send"
)

// The rotation that a log gets without options of its own.
const (
	logSize  = 10 << 20
	logFiles = 3
)

// monitorConfig says what a container's monitor is to do.
func monitorConfig(e *Engine, rec *container.Record, runDir string) (cfg monitor.Config, err error) {
	c := &rec.Config
	word := func(w string, more ...string) []string {
		args := append([]string{e.Defaults.Program}, e.Defaults.Globals...)
		return append(append(args, w), more...)
	}
	cfg = monitor.Config{
		ID: string(rec.ID), Dir: runDir, Terminal: c.Stdio.Terminal, Stdin: c.Stdio.OpenStdin, StdinOnce: c.Stdio.StdinOnce,
		Passthrough: c.Log.Driver == "passthrough", OOMScoreAdj: -999,
		Words: monitor.Words{
			Exited: word(ExitedWord, string(rec.ID)), Again: word(AgainWord, string(rec.ID)), Compress: word(CompressWord),
			Beside: word(NamesWord, string(rec.ID)), Relay: word(RelayWord, string(rec.ID)), Env: e.Defaults.Environ,
		},
	}
	cfg.Timeout = lifetime(rec)
	if h := rec.Resolved.Health; h != nil {
		cfg.Words.Health, cfg.Words.HealthAfter = word(HealthWord, string(rec.ID)), h.Wait(true, 0)
	}
	switch {
	case keepsFile(c.Log.Driver):
		cfg.Log = logOf(&c.Log, rec)
		if c.Log.Driver == "json-file" {
			cfg.Log.Attrs, err = attrsOf(rec)
		}
	case monitor.SendsLog(c.Log.Driver):
		cfg.Log = cacheOf(&c.Log, e.Containers.Home(rec.ID))
		cfg.Log.Send = word(SendWord)
		if cfg.Log.Head, err = monitor.LogHead(c.Log.Driver, logInfo(rec)); err != nil {
			err = fmt.Errorf("failed to initialize logging driver: %w", err)
		}
	}
	return cfg, err
}

// lifetime is how long the first process may live, 0 for ever.
func lifetime(rec *container.Record) time.Duration {
	const longest = math.MaxInt64 / time.Second
	return time.Duration(min(rec.Config.Life.Timeout, uint(longest))) * time.Second
}

// Ahead is a monitor that comes up while it is still found out what it is for.
type Ahead struct {
	done chan struct{}
	conn *monitor.Conn // nil if somebody has taken it, or it did not come up
}

// StartAhead starts a monitor for the container that is started next. Close it
// afterwards, whether it was needed or not.
func StartAhead(ctx context.Context, e *Engine) *Ahead {
	go container.Warm()
	a := &Ahead{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		// Why it failed, who needs one learns from a try of its own.
		a.conn, _ = beginMonitor(ctx, e)
	}()
	return a
}

// take gives the monitor away; nil if there is none.
func (a *Ahead) take() *monitor.Conn {
	if a == nil {
		return nil
	}
	<-a.done
	conn := a.conn
	a.conn = nil
	return conn
}

// Close ends a monitor that nobody took.
func (a *Ahead) Close() {
	if conn := a.take(); conn != nil {
		conn.Close()
		conn.Reap()
	}
}

// startMonitor starts a monitor, or takes the one that was started ahead.
func startMonitor(ctx context.Context, e *Engine, cfg monitor.Config, ahead *Ahead) (_ *monitor.Conn, err error) {
	conn := ahead.take()
	if conn == nil {
		if conn, err = beginMonitor(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := conn.Configure(cfg); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func beginMonitor(ctx context.Context, e *Engine) (conn *monitor.Conn, err error) {
	err = outside(ctx, e, func(program *os.File, place monitor.Place) error {
		conn, err = monitor.Begin(program, place)
		return err
	})
	return conn, err
}

// beginSibling starts another word of the helper where monitors are, in a network
// namespace unless that is nil.
func beginSibling(ctx context.Context, e *Engine, word string, namespace *os.File) (sock *os.File, err error) {
	pid := 0
	err = outside(ctx, e, func(program *os.File, place monitor.Place) error {
		place.Net = namespace
		sock, pid, err = monitor.Sibling(program, place, word)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := ownScope(ctx, e, "berth-"+word+"-"+strconv.Itoa(pid), pid); err != nil {
		return nil, errors.Join(err, sock.Close()) // which ends it
	}
	return sock, nil
}

// ownScope has an ordinary user's systemd keep a process that outlives the caller's
// session or service; root's are in berth's cgroup.
func ownScope(ctx context.Context, e *Engine, name string, pid int) error {
	if !e.Defaults.Rootless || e.host().NoCgroup {
		return nil
	}
	return runtime.OwnScope(ctx, name, pid)
}

// outside calls begin with the helper program and the place outside of all containers.
func outside(ctx context.Context, e *Engine, begin func(program *os.File, place monitor.Place) error) error {
	helper, err := runtime.Helper()
	if err != nil {
		return err
	}
	defer helper.Close()
	place, err := runtime.MonitorPlace(ctx, e.Runtime)
	if err != nil {
		return err
	}
	defer place.Close()
	return begin(helper, monitor.Place{Tasks: place.Tasks, Dir: place.Dir})
}

func logOf(l *config.Log, rec *container.Record) monitor.Log {
	log := monitor.Log{Driver: l.Driver, Path: rec.LogPath, MaxSize: logSize, MaxFile: logFiles}
	if l.Driver == "local" {
		log.MaxSize, log.MaxFile, log.Compress = 20<<20, 5, true
	}
	if v, ok := l.Options["max-size"]; ok {
		log.MaxSize = 0
		if n, err := units.ParseBytes(v); err == nil && n > 0 { // -1: no limit
			log.MaxSize = n
		}
		if _, ok := l.Options["max-file"]; !ok && l.Driver == "json-file" {
			log.MaxFile = 1
		}
	}
	if n, err := strconv.Atoi(l.Options["max-file"]); err == nil && n > 0 {
		log.MaxFile = n
	}
	if v, err := strconv.ParseBool(l.Options["compress"]); err == nil {
		log.Compress = v
	}
	return log
}

func ulimits(all []settings.Ulimit) []config.Ulimit {
	var out []config.Ulimit
	for _, u := range all {
		out = append(out, config.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return out
}

// failureCode is the exit code of a container whose start failed: a program that
// was not found is 127, one that cannot be executed 126.
func failureCode(err error) int {
	var start *runtime.StartError
	if errors.As(err, &start) {
		switch {
		case start.NotFound():
			return 127
		case start.NotExecutable():
			return 126
		}
	}
	return 128
}

func writePIDFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := atomicfile.Write(path, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	return nil
}

// treeOf finds a container's writable tree. That of one which goes when it ends need
// not reach the disk: without "volatile" the kernel, when the last mount of it goes,
// waits until all that anybody has written to the store's file system is there.
func treeOf(ctx context.Context, e *Engine, rec *container.Record) (image.Writable, error) {
	tree, err := e.Writables.Find(ctx, rec.Snapshot)
	if fault.Is(err, fault.NotFound) { // lost in a power cut, before anything was written to it
		tree, err = remakeTree(ctx, e, rec)
	}
	if err == nil && rec.Config.Life.Remove && tree.Work != "" {
		tree.Options = append(slices.Clip(tree.Options), "volatile")
	}
	return tree, err
}

// remakeTree makes an empty writable tree anew: the machine lost power before
// the old one reached the disk.
func remakeTree(ctx context.Context, e *Engine, rec *container.Record) (image.Writable, error) {
	base, err := e.Writables.Base(ctx, rec.Image.ID)
	if fault.Is(err, fault.NotFound) {
		return image.Writable{}, fault.New(fault.NotFound, "start container %s: its image %s is gone", rec.Name, rec.Image.Name)
	}
	if err != nil {
		return image.Writable{}, err
	}
	return e.Writables.Prepare(ctx, rec.Snapshot, base.Image, rec.Config.Image.SizeLimit, ownersOf(rec))
}
