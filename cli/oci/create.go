package oci

import (
	"context"
	"errors"
	"path/filepath"

	"berth/cli/oci/cmdline"
	"berth/runtime"
)

var createVerb = verb{
	name: "create", summary: "create a container", args: "CONTAINER", min: 1, max: 1,
	about: `Makes the container that the bundle's config.json describes. Its process waits
for "start" before it becomes the program of config.json.`,
	new: func() command { return new(createCommand) },
}

// bundleFlags are the flags that create and run share.
type bundleFlags struct {
	bundle        string
	consoleSocket string
	pidfdSocket   string
	pidFile       string
	noPivot       bool
	noNewKeyring  bool
	preserveFDs   int
}

func (b *bundleFlags) flags(s *cmdline.Set) {
	s.Path(&b.bundle, "bundle,b", "folder of the bundle, the current one if not given")
	s.Path(&b.consoleSocket, "console-socket", "AF_UNIX socket that receives the terminal's master")
	s.Path(&b.pidfdSocket, "pidfd-socket", "AF_UNIX socket that receives a pidfd of the process")
	s.Path(&b.pidFile, "pid-file", "file to write the process id to")
	s.Bool(&b.noPivot, "no-pivot", "do not use pivot_root, for a root file system on a ramdisk")
	s.Bool(&b.noNewKeyring, "no-new-keyring", "keep the caller's session keyring instead of making one")
	s.Int(&b.preserveFDs, "preserve-fds", "N", "descriptors after 0, 1, 2 and $LISTEN_FDS that the process keeps")
}

// request turns the flags into what the runtime asks for.
func (b *bundleFlags) request(id string) (runtime.CreateRequest, error) {
	r := runtime.CreateRequest{
		ID: id, Bundle: b.bundle, ConsoleSocket: b.consoleSocket, PidfdSocket: b.pidfdSocket,
		NoPivot: b.noPivot, NoNewKeyring: b.noNewKeyring, ListenFDs: listenFDs(),
	}
	var err error
	if r.PreserveFDs, err = inherited(r.ListenFDs, b.preserveFDs); err != nil {
		return r, err
	}
	r.PidFile, err = absolute(b.pidFile)
	return r, err
}

// absolute makes a path independent of the working directory; "" stays.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

type createCommand struct{ bundleFlags }

func (c *createCommand) run(ctx context.Context, in *call) (int, error) {
	r, err := c.request(in.words[0])
	if err != nil {
		return 0, err
	}
	p, err := in.rt.Create(ctx, r)
	return 0, errors.Join(err, p.Close())
}
