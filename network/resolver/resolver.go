// Package resolver starts the resolvers of networks (network/names) and feeds them:
// the files that they read, the sockets in a container's namespace that they answer
// at, and their own sockets, by which they are handed these. It answers nothing, and
// does not know what a network or a container is but by its id. Row 3, for room
// network.
package resolver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"berth/base/atomicfile"
	"berth/network/names"
)

// Files are those of a store's resolvers, in the room's run folder.
type Files struct{ Run, Boot string }

// Folder is what a resolver reads; its files are open to all who come that far,
// as a resolver is nobody.
const Folder = "names"

func (f Files) entryPath(network, container string) string {
	return filepath.Join(f.Run, Folder, names.On, network, container)
}

func (f Files) viewPath(container string) string {
	return filepath.Join(f.Run, Folder, names.Views, container)
}

// Enter writes what a container is on a network, Leave takes it away.
func (f Files) Enter(network, container string, e *names.Entry) error {
	return openFile(f.entryPath(network, container), e.Text())
}

func (f Files) Leave(network, container string) error {
	return remove(f.entryPath(network, container))
}

// See writes what a container may know, Forget takes it away.
func (f Files) See(container string, v *names.View) error {
	return openFile(f.viewPath(container), v.Text())
}

func (f Files) Forget(container string) error { return remove(f.viewPath(container)) }

// Drop removes what a network leaves of names; its resolver goes by itself.
func (f Files) Drop(network string) error {
	if err := os.RemoveAll(filepath.Join(f.Run, Folder, names.On, network)); err != nil {
		return err
	}
	return remove(filepath.Join(f.Run, Sockets, network))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openFile writes a file that all may read, in a folder that all may list.
func openFile(path, text string) error {
	const perm = 0o644
	err := atomicfile.Write(path, []byte(text), perm)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := openFolder(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(text), perm)
}

// openFolder makes a folder that all may list, whatever the umask.
func openFolder(path string) error {
	if err := os.Mkdir(path, 0o755); errors.Is(err, fs.ErrNotExist) {
		if err := openFolder(filepath.Dir(path)); err != nil {
			return err
		}
		return openFolder(path)
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if filepath.Base(path) == Folder || filepath.Base(filepath.Dir(path)) == Folder || filepath.Base(filepath.Dir(path)) == names.On {
		return os.Chmod(path, 0o755)
	}
	return nil
}
