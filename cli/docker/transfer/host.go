package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/files"
	"berth/sys/proc"
)

// endsHere reports whether a path's last component is ".".
func endsHere(p string) bool { return filepath.Base(p) == "." || strings.HasSuffix(p, "/.") }

func hasSlash(p string) bool { return strings.HasSuffix(p, "/") }

// asksFolder reports whether a path can be nothing else than a folder.
func asksFolder(p string) bool { return hasSlash(p) || endsHere(p) }

// split cuts a path into its folder and its last name, which is "." if the path
// ends so.
func split(p string) (dir, base string) {
	tidy := filepath.Clean(p)
	if endsHere(p) {
		tidy += "/."
	}
	return filepath.Dir(tidy), filepath.Base(tidy)
}

// absolute makes a path absolute and keeps its ending.
func absolute(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	switch {
	case endsHere(p) && !endsHere(abs):
		if !hasSlash(abs) {
			abs += "/"
		}
		abs += "."
	case hasSlash(p) && !hasSlash(abs):
		abs += "/"
	}
	return abs, nil
}

// rebased keeps on target the ending of the path that led there, and gives the
// name that the path had, if target has another.
func rebased(p, target string) (path, name string) {
	if endsHere(p) && !endsHere(target) {
		target += "/."
	}
	if hasSlash(p) && !hasSlash(target) {
		target += "/"
	}
	if filepath.Base(p) != filepath.Base(target) {
		name = filepath.Base(p)
	}
	return target, name
}

// hostSource is a path on the host.
func hostSource(ctx context.Context, p string, follow bool) (*source, error) {
	abs, err := absolute(p)
	if err != nil {
		return nil, err
	}
	s := &source{}
	if follow {
		at, err := filepath.EvalSymlinks(abs)
		if err != nil {
			return nil, err
		}
		s.path, s.rebase = rebased(abs, at)
	} else {
		dir, base := filepath.Split(abs)
		at, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return nil, err
		}
		s.path = strings.TrimSuffix(at, "/") + "/" + base
		if hasSlash(abs) && filepath.Base(abs) != filepath.Base(s.path) {
			s.rebase = filepath.Base(abs)
		}
	}
	st, err := os.Lstat(s.path)
	if err != nil {
		return nil, err
	}
	s.folder = st.IsDir()
	dir, base := split(s.path)
	s.name = base
	if s.rebase != "" {
		s.name = s.rebase
	}
	s.pack = func(w io.Writer) error {
		d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer d.Close()
		inside, err := proc.InUserNamespace()
		if err != nil {
			return err
		}
		return files.Pack(ctx, w, &files.Source{Dir: int(d.Fd()), Base: base, Name: s.name, OthersAreRoots: inside})
	}
	return s, nil
}

// checkOutput refuses a path on the host that cannot be written to.
func checkOutput(p string) error {
	dir := filepath.Dir(filepath.Clean(p))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("invalid output path: directory %q does not exist", dir)
	}
	st, err := os.Stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeDevice != 0:
		return fmt.Errorf("invalid output path: %q must be a directory or a regular file: got a device", p)
	}
	return nil
}

// maxFollowed is how many links at the end of a destination are followed.
const maxFollowed = 10

// hostGoal is a path on the host, where links lead on.
func hostGoal(p string) (*goal, error) {
	at := p
	st, err := os.Lstat(at)
	for n := 0; err == nil && st.Mode()&fs.ModeSymlink != 0; n++ {
		if n > maxFollowed {
			return nil, errors.New("too many symlinks in " + p)
		}
		target, lerr := os.Readlink(at)
		if lerr != nil {
			return nil, lerr
		}
		if !filepath.IsAbs(target) {
			dir, _ := split(at)
			target = filepath.Join(dir, target)
		}
		at = target
		st, err = os.Lstat(at)
	}
	if err == nil {
		return &goal{path: at, exists: true, folder: st.IsDir()}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dir, _ := split(at)
	above, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !above.IsDir() {
		return nil, errNotDirectory
	}
	return &goal{path: at}, nil
}
