package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/container"
	"berth/files"
	"berth/image"
)

// CommitRequest makes an image of a container's files and configuration.
type CommitRequest struct {
	Container       string
	Name            string // of the image, as typed; "" for none
	Author, Message string
	Changes         []string // instructions of a Dockerfile
	Pause           bool     // while its files are read
	Squash          bool     // one layer
	Format          string   // "", oci, docker
}

// Commit makes an image of a container and gives the image's id.
func Commit(ctx context.Context, e *Engine, r CommitRequest) (digest.Digest, error) {
	rec, err := e.Containers.Get(ctx, r.Container)
	if err != nil {
		return "", err
	}
	o := image.CommitOptions{Base: rec.Image.ID, Squash: r.Squash, Author: r.Author, Message: r.Message, Changes: r.Changes, Format: r.Format,
		CreatedBy: strings.Join(rec.Resolved.Cmd, " ")}
	if r.Name != "" {
		if o.Name, err = e.Images.Name(r.Name); err != nil {
			return "", err
		}
	}
	base, err := e.Writables.Base(ctx, rec.Image.ID)
	if err != nil {
		return "", fmt.Errorf("commit container %s: its image %s: %w", rec.Name, rec.Image.Name, err)
	}
	o.Defaults = committedDefaults(rec, base.Config)
	o.Layer = func(w io.Writer) error { return packLayer(ctx, e, rec, &r, w) }
	id, err := e.Writables.Commit(ctx, o)
	if err != nil {
		return "", err
	}
	more := map[string]string{"comment": r.Message, "imageID": string(id)}
	if o.Name != "" {
		more["imageRef"] = o.Name
	}
	e.tell(rec, "commit", more)
	return id, nil
}

// packLayer writes what becomes the layer, while the container stands still.
func packLayer(ctx context.Context, e *Engine, rec *container.Record, r *CommitRequest, w io.Writer) (err error) {
	if r.Pause {
		me, err := container.Identify(os.Getpid())
		if err != nil {
			return err
		}
		failed := pause(ctx, e, string(rec.ID), &me)
		if failed == nil {
			defer func() { err = errors.Join(err, Unpause(context.WithoutCancel(ctx), e, string(rec.ID))) }()
		} else if !fault.Is(failed, fault.Conflict) && !fault.Is(failed, fault.Unsupported) {
			return failed // the others do not run, are paused, or are an ordinary user's without a cgroup
		}
	}
	l, err := rootLayers(ctx, e, rec)
	if err != nil {
		return err
	}
	if !r.Squash {
		return files.PackLayer(ctx, w, l)
	}
	v, err := files.Enter(ctx, &files.Place{Layers: l, ReadOnly: true})
	if err != nil {
		return err
	}
	defer v.Close()
	return v.PackRoot(w)
}

// committedDefaults are what containers of the new image get: what this one has.
func committedDefaults(rec *container.Record, base *image.Config) image.Defaults {
	res := &rec.Resolved
	d := image.Defaults{
		User: res.User, Env: res.Env, Entrypoint: res.Entrypoint, Cmd: res.Cmd, WorkingDir: res.WorkDir, Labels: maps.Clone(res.Labels),
		StopSignal: res.StopSignal, StopTimeout: res.StopTimeout, Volumes: maps.Clone(base.Defaults.Volumes),
		Hostname: rec.Hostname, Domainname: rec.Config.Domainname, Tty: rec.Config.Stdio.Terminal, OpenStdin: rec.Config.Stdio.OpenStdin,
	}
	set := func(m *map[string]struct{}, key string) {
		if *m == nil {
			*m = map[string]struct{}{}
		}
		(*m)[key] = struct{}{}
	}
	for _, m := range rec.Mounts {
		if m.Anonymous {
			set(&d.Volumes, m.Target)
		}
	}
	for _, p := range append(res.Expose[:len(res.Expose):len(res.Expose)], published(rec)...) {
		for i := range max(1, p.Count) {
			set(&d.ExposedPorts, fmt.Sprintf("%d/%s", int(p.Container)+int(i), p.Protocol))
		}
	}
	if h := res.Health; h != nil {
		d.Healthcheck = &image.Healthcheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod,
			StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return d
}
