package containers

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/base/ids"
	"berth/cli/docker/attach"
	"berth/cli/docker/command"
	"berth/cli/docker/images"
	"berth/cli/docker/option"
	"berth/container"
	"berth/engine"
	"berth/image"
	"berth/monitor"
)

// lives is Starts and Lives on the engine of this machine.
type lives struct {
	e     *engine.Engine
	c     *command.Call
	ahead *engine.Ahead
}

func (l *lives) Ahead(ctx context.Context) (done func()) {
	l.ahead = engine.StartAhead(ctx, l.e)
	return l.ahead.Close
}

func (l *lives) Create(ctx context.Context, a option.Asked, t Told) (string, error) {
	access, err := a.Access.Value()
	if err != nil {
		return "", err
	}
	pull := engine.PullRequest{PullRequest: image.PullRequest{Access: access}}
	view := images.NewView(l.c, l.e, t.Progress)
	r := engine.CreateRequest{Config: a.Config, Name: a.Name, Pull: pull, Warn: t.Warning, Missing: t.Missing, Pulled: view.End}
	r.Pull.Named, r.Pull.Progress = view.Named, view.Progress
	if a.Replace && a.Name != "" {
		if err := engine.Remove(ctx, l.e, engine.RemoveRequest{Container: a.Name, Force: true}); err != nil && !fault.Is(err, fault.NotFound) {
			return "", err
		}
	}
	id, err := engine.Create(ctx, l.e, r)
	return string(id), err
}

func (l *lives) Start(ctx context.Context, name string, w attach.Want, joined func(*attach.Far) error) error {
	r := engine.StartRequest{Container: name, Ahead: l.ahead}
	if joined != nil {
		r.Connected = func(id ids.ID, conn *monitor.Conn) error {
			far, err := farOf(l.e, id, conn, w, true)
			if err != nil {
				return err
			}
			return joined(far)
		}
	}
	_, err := engine.Start(ctx, l.e, r)
	return err
}

// farOf joins a container's first process through its monitor. follow promises
// to do what follows the exit.
func farOf(e *engine.Engine, id ids.ID, conn *monitor.Conn, w attach.Want, follow bool) (*attach.Far, error) {
	watch, err := conn.Watch("", follow)
	if err != nil {
		return nil, err
	}
	f := &attach.Far{
		Wait: func(ctx context.Context) (int, error) {
			defer watch.Close()
			return engine.Follow(ctx, e, id, watch)
		},
		Signal: func(name string) error {
			return engine.Kill(context.Background(), e, engine.KillRequest{Container: string(id), Signal: name})
		},
	}
	if !w.Stdin && !w.Stdout && !w.Stderr {
		f.Close = func() {}
		return f, nil
	}
	s, err := conn.Attach(monitor.Want{Stdin: w.Stdin, Stdout: w.Stdout, Stderr: w.Stderr})
	if err != nil {
		return nil, errors.Join(err, watch.Close())
	}
	setStreams(f, s)
	f.Close = s.Close
	if w.Height > 0 && w.Width > 0 {
		if err := conn.Resize("", w.Height, w.Width); err != nil {
			return nil, errors.Join(err, watch.Close())
		}
	}
	f.Resize = func(height, width uint16) error {
		c, err := monitor.Dial(e.Containers.RunDir(id))
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Resize("", height, width)
	}
	return f, nil
}

// setStreams leaves out what is not there: a nil file is no nil interface.
func setStreams(f *attach.Far, s *monitor.Streams) {
	if s.Stdin != nil {
		f.Stdin = s.Stdin
	}
	for _, one := range []struct {
		from *os.File
		into *io.Reader
	}{{s.Stdout, &f.Stdout}, {s.Stderr, &f.Stderr}} {
		if one.from != nil {
			*one.into = one.from
		}
	}
}

func (l *lives) Stop(ctx context.Context, name string, o StopOptions) error {
	_, err := engine.Stop(ctx, l.e, engine.StopRequest{Container: name, Signal: o.Signal, Timeout: o.Timeout})
	return err
}

func (l *lives) Restart(ctx context.Context, name string, o StopOptions) error {
	_, err := engine.Restart(ctx, l.e, engine.StopRequest{Container: name, Signal: o.Signal, Timeout: o.Timeout})
	return err
}

func (l *lives) Kill(ctx context.Context, name, signal string) error {
	return engine.Kill(ctx, l.e, engine.KillRequest{Container: name, Signal: signal, Wait: true})
}

func (l *lives) Remove(ctx context.Context, name string, o RemoveOptions) error {
	return engine.Remove(ctx, l.e, engine.RemoveRequest{Container: name, Force: o.Force, Volumes: o.Volumes})
}

func (l *lives) Pause(ctx context.Context, name string, freeze bool) error {
	if freeze {
		return engine.Pause(ctx, l.e, name)
	}
	return engine.Unpause(ctx, l.e, name)
}

// streams is Streams on the engine of this machine.
type streams struct{ e *engine.Engine }

func (s streams) Attach(ctx context.Context, name string, w attach.Want) (*attach.Far, error) {
	rec, conn, err := engine.Attach(ctx, s.e, name)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return farOf(s.e, rec.ID, conn, w, false)
}

func (s streams) Exec(ctx context.Context, r ExecRequest) (*attach.Far, error) {
	session, err := engine.Exec(ctx, s.e, engine.ExecRequest{
		Container: r.Container, Args: r.Args, Env: r.Env, User: r.User, WorkDir: r.WorkDir, Terminal: r.Terminal, Stdin: r.Want.Stdin,
		Detach: r.Detach, Privileged: r.Privileged, Rows: r.Want.Height, Cols: r.Want.Width,
	})
	if err != nil {
		return nil, err
	}
	if r.Detach {
		session.Close()
		return nil, nil
	}
	f := &attach.Far{
		Close: session.Close,
		Wait: func(ctx context.Context) (int, error) {
			defer session.Close()
			exit, err := session.Wait(ctx)
			if err != nil {
				return 0, err
			}
			return exit.Code, nil
		},
	}
	if session.Console != nil {
		f.Stdout = session.Console
		if r.Want.Stdin {
			f.Stdin = keys{session.Console}
		}
		f.Resize = func(height, width uint16) error { return session.Conn.Resize(session.ID, height, width) }
		return f, nil
	}
	setStreams(f, session.Streams)
	return f, nil
}

func (s streams) Wait(ctx context.Context, name, condition string, ready func()) (int, error) {
	if ready != nil {
		ready()
	}
	return engine.Wait(ctx, s.e, name, engine.WaitCondition(condition))
}

func (s streams) Logs(ctx context.Context, name string, o LogOptions) error {
	return engine.Logs(ctx, s.e, engine.LogsRequest{Container: name, Tail: o.Tail, Since: o.Since, Until: o.Until, Follow: o.Follow}, func(l engine.LogLine) error {
		w := o.Out
		if l.Err {
			w = o.Err
		}
		head := ""
		if o.Timestamps {
			head = l.Time.UTC().Format(stampForm) + " "
		}
		if o.Details {
			head += details(l.Attrs) + " "
		}
		_, err := io.WriteString(w, head+string(l.Line.Line))
		return err
	})
}

// keys is the input of a terminal, which does not end with what is typed: its
// output comes from the same file.
type keys struct{ io.Writer }

func (keys) Close() error { return nil }

// stampForm is docker's: nanoseconds with all their digits.
const stampForm = "2006-01-02T15:04:05.000000000Z07:00"

// details are a line's attributes, sorted.
func details(attrs map[string]string) string {
	var words []string
	for k, v := range attrs {
		words = append(words, url.QueryEscape(k)+"="+url.QueryEscape(v))
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// changes is Changes on the engine of this machine.
type changes struct{ e *engine.Engine }

func (c changes) Rename(ctx context.Context, name, newName string) error {
	return engine.Rename(ctx, c.e, name, newName)
}

func (c changes) Update(ctx context.Context, name string, u Changed) ([]string, error) {
	return nil, engine.Update(ctx, c.e, engine.UpdateRequest{Container: name, Resources: u.Resources, Restart: u.Restart, Meta: u.Meta, Shape: u.Shape, Ports: u.Ports})
}

func (c changes) Exists(ctx context.Context, name string) (bool, error) {
	_, err := c.e.Containers.Find(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func (c changes) Prune(ctx context.Context, filters map[string][]string) (ids []string, reclaimed int64, err error) {
	if _, err := pruned(&container.Summary{}, filters); err != nil {
		return nil, 0, err
	}
	all, err := engine.Containers(ctx, c.e)
	if err != nil {
		return nil, 0, err
	}
	for i := range all {
		s := &all[i]
		if st := s.State(); st.Live() || st == container.StateRestarting || st == container.StateRemoving {
			continue
		}
		fits, err := pruned(s, filters)
		if err != nil {
			return ids, reclaimed, err
		}
		if !fits {
			continue
		}
		size, err := engine.ContainerSizes(ctx, c.e, all[i:i+1])
		if err != nil {
			return ids, reclaimed, err
		}
		err = engine.Remove(ctx, c.e, engine.RemoveRequest{Container: string(s.ID)})
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) { // removed or started meanwhile
			continue
		}
		if err != nil {
			return ids, reclaimed, err
		}
		ids, reclaimed = append(ids, string(s.ID)), reclaimed+size[0].Own
	}
	return ids, reclaimed, nil
}

// pruned tells whether the filters let a container go.
func pruned(s *container.Summary, filters map[string][]string) (bool, error) {
	for key, values := range filters {
		switch key {
		case "until":
			at, err := engine.UntilTime(values[0])
			if err != nil {
				return false, err
			}
			if s.Created.After(at) {
				return false, nil
			}
		case "label":
			if !slices.ContainsFunc(values, func(v string) bool { return engine.HasLabel(s.Labels, v) }) {
				return false, nil
			}
		case "label!":
			if slices.ContainsFunc(values, func(v string) bool { return engine.HasLabel(s.Labels, v) }) {
				return false, nil
			}
		default:
			return false, fault.New(fault.Invalid, "Invalid filter '%s'", key)
		}
	}
	return true, nil
}

func (c changes) Commit(ctx context.Context, r CommitRequest) (string, error) {
	id, err := engine.Commit(ctx, c.e, engine.CommitRequest{Container: r.Container, Name: r.Name, Author: r.Author, Message: r.Message,
		Changes: r.Changes, Pause: r.Pause, Squash: r.Squash, Format: r.Format})
	return string(id), err
}

func (c changes) Init(ctx context.Context, name string) error { return engine.Init(ctx, c.e, name) }

func (c changes) HealthRun(ctx context.Context, name string) (bool, error) {
	return engine.HealthRun(ctx, c.e, name)
}
