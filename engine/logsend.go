package engine

import (
	"fmt"
	"path/filepath"
	"strconv"

	"berth/base/units"
	"berth/container"
	"berth/container/config"
	"berth/monitor"
)

// The cache that a log which is sent elsewhere leaves for logs, as docker's.
const (
	cacheName  = "container-cached.log"
	cacheSize  = 20 << 20
	cacheFiles = 5
)

// canSend finds out whether a log's target can be reached, before anything
// starts.
func canSend(rec *container.Record) error {
	if !monitor.SendsLog(rec.Config.Log.Driver) {
		return nil
	}
	return monitor.TryLog(rec.Config.Log.Driver, logInfo(rec))
}

// logInfo is what drivers tell of a container.
func logInfo(rec *container.Record) *monitor.LogInfo {
	args := rec.Resolved.Args()
	i := &monitor.LogInfo{
		ContainerID: string(rec.ID), ContainerName: "/" + rec.Name, ContainerImageID: rec.Image.ID, ContainerImageName: rec.Image.Name,
		ContainerCreated: rec.Created, ContainerEnv: rec.Resolved.Env, ContainerLabels: rec.Resolved.Labels, DaemonName: "docker",
		Config: rec.Config.Log.Options,
	}
	if len(args) > 0 {
		i.Entrypoint, i.Args = args[0], args[1:]
	}
	return i
}

// cacheOf is the log that is kept of one that is sent elsewhere; its Path is ""
// if none is.
func cacheOf(l *config.Log, home string) monitor.Log {
	log := monitor.Log{Driver: "local", Path: filepath.Join(home, cacheName), MaxSize: cacheSize, MaxFile: cacheFiles, Compress: true}
	if off, err := strconv.ParseBool(l.Options["cache-disabled"]); err == nil && off {
		log.Path = ""
	}
	if n, err := units.ParseBytes(l.Options["cache-max-size"]); err == nil && n > 0 {
		log.MaxSize = n
	}
	if n, err := strconv.Atoi(l.Options["cache-max-file"]); err == nil && n > 0 {
		log.MaxFile = n
	}
	if v, err := strconv.ParseBool(l.Options["cache-compress"]); err == nil {
		log.Compress = v
	}
	return log
}

// keptLog is where the output of a container can be read; ok is false if nobody
// keeps it.
func (e *Engine) keptLog(rec *container.Record) (log monitor.Log, ok bool) {
	l := &rec.Config.Log
	switch {
	case keepsFile(l.Driver):
		return logOf(l, rec), true
	case monitor.SendsLog(l.Driver):
		log = cacheOf(l, e.Containers.Home(rec.ID))
		return log, log.Path != ""
	}
	return log, false
}

// attrsOf are the labels and variables that each line of a json-file log has, as
// JSON; "" for none.
func attrsOf(rec *container.Record) (string, error) {
	attrs, err := monitor.LogAttributes(logInfo(rec))
	if err != nil {
		return "", fmt.Errorf("failed to initialize logging driver: %w", err)
	}
	return attrs, nil
}
