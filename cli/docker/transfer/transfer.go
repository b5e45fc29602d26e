// Package transfer is the client's half of cp: it decides by docker's rules what
// a path with or without a slash at its end means at either side, and moves the tar
// from one to the other. The files of containers are reached through Far alone,
// those of the host by descriptors: an archive that a container gave is not
// trusted. Row 6.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/files"
)

// Request is one cp. A container of "" is the host; a path of "-" there is In or
// Out, as a tar.
type Request struct {
	From, To   Place
	FollowLink bool // of the source itself
	// KeepIDs is -a: into a container, files belong to the user that its processes
	// run as; if that is root and RootOwns is not said, they keep their owners.
	KeepIDs, RootOwns bool
	Overwrite         bool // folders and files may replace each other
	In                io.Reader
	Out               io.Writer
	// Warn is told what did not come over as it was.
	Warn func(string)
}

// Place is a path in a container or on the host.
type Place struct{ Container, Path string }

// Far is the files of one container: *engine.Files.
type Far interface {
	Stat(path string) (*files.Stat, error)
	Pack(path string, w io.Writer) error
	Unpack(path string, o *files.Options, r io.Reader) (*files.Made, error)
	Owner() (*files.Owner, error)
	Close() error
	Stream
}

// Stream is how an archive comes in that a client writes as slowly as it likes.
type Stream interface {
	// Held: others wait for the container until Close.
	Held() bool
	// Spool takes the archive to its end; it may be called after Close.
	Spool(r io.Reader) (io.ReadCloser, error)
}

// Open opens the files of a container.
type Open func(ctx context.Context, container string, write bool) (Far, error)

// Missing says that there is no such container, or no such path in it.
type Missing struct {
	Place
	err error
}

func (e *Missing) Error() string { return e.err.Error() }
func (e *Missing) Unwrap() error { return e.err }

// far marks errors of a container's side.
func far(container, path string, err error) error {
	if fault.Is(err, fault.NotFound) {
		return &Missing{Place{container, path}, err}
	}
	return command.FromEngine(err)
}

// What docker's client says.
var (
	errDirNotExists  = errors.New("no such directory")
	errCannotCopyDir = errors.New("cannot copy directory")
	errNotDirectory  = errors.New("not a directory")
)

// source is where files come from.
type source struct {
	path   string
	folder bool
	// name is what the tar's names begin with, rebase what they are to begin with
	// instead, if not "".
	name, rebase string
	pack         func(w io.Writer) error
}

// goal is where they go.
type goal struct {
	path           string
	exists, folder bool
}

// plan says where a source is to be unpacked, and as what, by docker's rules.
func plan(s *source, g *goal) (dir string, o files.Options, err error) {
	dir, base := split(g.path)
	o.From, o.To = s.name, base
	switch {
	case g.exists && g.folder:
		o.To = s.rebase
		return g.path, o, nil
	case g.exists && s.folder:
		return "", files.Options{}, errCannotCopyDir
	case !g.exists && !s.folder && asksFolder(g.path):
		return "", files.Options{}, errDirNotExists
	}
	return dir, o, nil
}

// Copy copies. Its errors are docker's.
func Copy(ctx context.Context, r *Request, open Open) error {
	if r.To.Container == "" {
		return fromContainer(ctx, r, open)
	}
	return toContainer(ctx, r, open)
}

// fromContainer copies to the host.
func fromContainer(ctx context.Context, r *Request, open Open) error {
	to := r.To.Path
	if to != "-" {
		var err error
		if to, err = absolute(to); err != nil {
			return err
		}
		if err := checkOutput(to); err != nil {
			return err
		}
	}
	s, f, err := containerSource(ctx, r, open)
	if err != nil {
		return err
	}
	defer f.Close()
	if to == "-" {
		return s.pack(r.Out)
	}
	g, err := hostGoal(to)
	if err != nil {
		return err
	}
	dir, o, err := plan(s, g)
	if err != nil {
		return err
	}
	o.NoReplace = !r.Overwrite
	return pipe(s.pack, func(in io.Reader) error { return unpackHere(ctx, dir, o, in, r.Warn) })
}

// containerSource is a path in a container.
func containerSource(ctx context.Context, r *Request, open Open) (*source, Far, error) {
	name, where := r.From.Container, r.From.Path
	if where == "" {
		return nil, nil, command.FromEngine(fault.New(fault.Invalid, "bad parameter: path cannot be empty"))
	}
	f, err := open(ctx, name, false)
	if err != nil {
		return nil, nil, far(name, where, err)
	}
	s := &source{path: where}
	st, err := f.Stat(where)
	if err == nil && r.FollowLink && st.Mode&fs.ModeSymlink != 0 {
		target := st.LinkTarget
		s.path, s.rebase = rebased(where, target)
		st, err = f.Stat(s.path)
	}
	if err != nil {
		f.Close()
		return nil, nil, far(name, s.path, err)
	}
	_, s.name = split(s.path)
	s.folder = st.Mode.IsDir()
	s.pack = func(w io.Writer) error { return far(name, s.path, f.Pack(s.path, w)) }
	return s, f, nil
}

// toContainer copies from the host, a stream or another container.
func toContainer(ctx context.Context, r *Request, open Open) error {
	name := r.To.Container
	s, done, err := anySource(ctx, r, open)
	if err != nil {
		return err
	}
	defer done()
	if r.To.Path == "" {
		return errDirNotExists
	}
	f, dir, o, err := openGoal(ctx, r, s, open)
	if err != nil {
		return err
	}
	in := r.In
	if s == nil && f.Held() { // nobody is to wait for what a client may never send
		if err := f.Close(); err != nil {
			return err
		}
		spool, err := f.Spool(r.In)
		if err != nil {
			return err
		}
		defer spool.Close()
		if f, dir, o, err = openGoal(ctx, r, s, open); err != nil {
			return err
		}
		in = spool
	}
	defer f.Close()
	o.NoReplace, o.KeepOwner = !r.Overwrite, true
	if r.KeepIDs {
		if o.Owner, err = f.Owner(); err != nil {
			return far(name, r.To.Path, err)
		}
		if o.Owner == nil && r.RootOwns {
			o.Owner = &files.Owner{}
		}
	}
	unpack := func(in io.Reader) error {
		made, err := f.Unpack(dir, &o, in)
		if err != nil {
			return far(name, dir, err)
		}
		tell(made, r.Warn)
		return nil
	}
	if s == nil {
		return unpack(in)
	}
	return pipe(s.pack, unpack)
}

// openGoal opens the container's side and says where a source, nil for the stream,
// is to be unpacked, and as what.
func openGoal(ctx context.Context, r *Request, s *source, open Open) (f Far, dir string, o files.Options, err error) {
	name := r.To.Container
	if f, err = open(ctx, name, true); err != nil {
		at := r.To.Path // docker names the folder that it would have gone to
		if s != nil {
			if dir, _, perr := plan(s, &goal{path: at}); perr == nil {
				at = dir
			}
		}
		return nil, "", o, far(name, at, err)
	}
	g, err := containerGoal(f, r.To)
	switch {
	case err != nil:
	case s != nil:
		dir, o, err = plan(s, g)
	case !g.folder:
		err = fmt.Errorf("destination \"%s:%s\" must be a directory", name, r.To.Path)
	default:
		dir = g.path
	}
	if err != nil {
		f.Close()
	}
	return f, dir, o, err
}

// anySource is a path of either side, or nil for the stream.
func anySource(ctx context.Context, r *Request, open Open) (s *source, done func(), err error) {
	done = func() {}
	switch {
	case r.From.Container != "":
		var f Far
		if s, f, err = containerSource(ctx, r, open); err == nil {
			done = func() { f.Close() }
		}
	case r.From.Path != "-":
		s, err = hostSource(ctx, r.From.Path, r.FollowLink)
	}
	return s, done, err
}

// containerGoal is a path in a container, where a link leads on.
func containerGoal(f Far, to Place) (*goal, error) {
	g := &goal{path: to.Path}
	st, err := f.Stat(to.Path)
	if err == nil && st.Mode&fs.ModeSymlink != 0 {
		g.path = st.LinkTarget
		st, err = f.Stat(g.path)
	}
	if err != nil { // it may come to be
		if fault.Is(err, fault.Unavailable) {
			return nil, command.FromEngine(err)
		}
		return g, nil
	}
	if st.Mode&fs.ModeDevice != 0 {
		return nil, fmt.Errorf("destination \"%s:%s\" must be a directory or a regular file: got a device", to.Container, to.Path)
	}
	g.exists, g.folder = true, st.Mode.IsDir()
	return g, nil
}

// tell warns of what did not come over as it was.
func tell(m *files.Made, warn func(string)) {
	if m == nil || warn == nil {
		return
	}
	if m.Devices > 0 {
		warn(fmt.Sprintf("%d device nodes were left out: none are made in a container", m.Devices))
	}
	if m.Foreign > 0 {
		warn(fmt.Sprintf("%d files belong to root in the container now: it has no ids for their owners", m.Foreign))
	}
}

// pipe lets one side write what the other reads. The reader's error says more,
// unless it only saw the writer's end.
func pipe(write func(io.Writer) error, read func(io.Reader) error) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	_, _ = unix.FcntlInt(pw.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	wrote := make(chan error, 1)
	go func() {
		err := write(pw)
		pw.Close()
		wrote <- err
	}()
	rerr := read(pr)
	pr.Close()
	werr := <-wrote
	if werr != nil && !errors.Is(werr, unix.EPIPE) {
		return werr
	}
	return rerr
}

// unpackHere makes the files of a container's tar in a folder of the host. They
// belong to the caller, as with docker.
func unpackHere(ctx context.Context, dir string, o files.Options, in io.Reader, warn func(string)) error {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	made, err := files.Unpack(ctx, &files.Target{Dir: int(d.Fd()), Path: path.Clean(filepath.ToSlash(dir)), Root: -1, Options: o}, in)
	if err == nil {
		tell(&made, warn)
	}
	return err
}
