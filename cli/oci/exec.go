package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/cli/oci/cmdline"
	"berth/runtime"
)

var execVerb = verb{
	name: "exec", summary: "run one more process in a container", min: 1, max: manyWords, leading: true, failed: 255,
	args: "CONTAINER COMMAND [ARG...]",
	about: `Runs COMMAND with the user, environment, capabilities and limits of the
container's own process as far as no flag says otherwise. With --process, all of
it comes from a file in the form of "process" in config.json, and there is no
COMMAND. Ends with the exit status of the process, or 255 if there was none.`,
	new: func() command { return new(execCommand) },
}

type execCommand struct {
	consoleSocket string
	pidfdSocket   string
	pidFile       string
	preserveFDs   int
	detach        bool
	ignorePaused  bool
	cgroup        []string
	process       processFlags
}

// processFlags are the flags that change the container's own process.
type processFlags struct {
	file         string
	cwd          string
	env          []string
	tty          bool
	user         string
	gids         []uint32
	label        string
	apparmor     string
	noNewPrivs   bool
	capabilities []string
}

func (c *execCommand) flags(s *cmdline.Set) {
	p := &c.process
	s.Path(&c.consoleSocket, "console-socket", "AF_UNIX socket that receives the terminal's master")
	s.Path(&c.pidfdSocket, "pidfd-socket", "AF_UNIX socket that receives a pidfd of the process")
	s.String(&p.cwd, "cwd", "DIR", "working directory in the container")
	s.Strings(&p.env, "env,e", "NAME=VALUE", "environment variable")
	s.Bool(&p.tty, "tty,t", "give the process a terminal")
	s.String(&p.user, "user,u", "UID[:GID]", "user id, and group id")
	s.Uint32s(&p.gids, "additional-gids,g", "GID", "additional group id")
	s.Path(&p.file, "process,p", "file that describes the process in the form of config.json's")
	s.Bool(&c.detach, "detach,d", "do not wait for the process")
	s.Path(&c.pidFile, "pid-file", "file to write the process id to")
	s.String(&p.label, "process-label", "LABEL", "SELinux label of the process")
	s.String(&p.apparmor, "apparmor", "PROFILE", "AppArmor profile of the process")
	s.Bool(&p.noNewPrivs, "no-new-privs", "the process can gain no rights by execve")
	s.Strings(&p.capabilities, "cap,c", "CAP", "one more capability")
	s.Int(&c.preserveFDs, "preserve-fds", "N", "descriptors after 0, 1 and 2 that the process keeps")
	s.Strings(&c.cgroup, "cgroup", "[CONTROLLER:]PATH", "cgroup below the container's that the process runs in")
	s.Bool(&c.ignorePaused, "ignore-paused", "do it in a paused container too")
}

func (c *execCommand) run(ctx context.Context, in *call) (int, error) {
	r := runtime.ExecRequest{
		ID: in.words[0], ConsoleSocket: c.consoleSocket, PidfdSocket: c.pidfdSocket, Detach: c.detach, IgnorePaused: c.ignorePaused, Cgroup: c.cgroup,
	}
	var err error
	if r.PreserveFDs, err = inherited(0, c.preserveFDs); err != nil {
		return 0, err
	}
	if r.PidFile, err = absolute(c.pidFile); err != nil {
		return 0, err
	}
	if c.process.file == "" {
		r.Change = func(p *specs.Process) error {
			if err := c.process.change(p, in.words[1:]); err != nil {
				return err
			}
			return c.check(p)
		}
		return in.rt.Exec(ctx, r)
	}
	if r.Process, err = readProcess(c.process.file); err != nil {
		return 0, err
	}
	if err := c.check(r.Process); err != nil {
		return 0, err
	}
	return in.rt.Exec(ctx, r)
}

func (c *execCommand) check(p *specs.Process) error {
	if err := checkProcess(p); err != nil {
		return err
	}
	return c.checkConsole(p.Terminal)
}

// checkConsole holds the rule for terminals: who detaches cannot hold the
// master, so it must have somebody to send it to; who stays keeps it.
func (c *execCommand) checkConsole(terminal bool) error {
	switch {
	case c.detach && terminal && c.consoleSocket == "":
		return fault.New(fault.Invalid, "cannot allocate tty if %s will detach without setting console socket", Name)
	case c.consoleSocket != "" && !(c.detach && terminal):
		return fault.New(fault.Invalid, "cannot use console socket if %s will not detach or allocate tty", Name)
	}
	return nil
}

// maxProcessBytes bounds a --process file.
const maxProcessBytes = 16 << 20

// readProcess reads a process from a regular file: a FIFO could wait for a
// writer for ever.
func readProcess(file string) (*specs.Process, error) {
	b, err := atomicfile.ReadCapped(file, maxProcessBytes)
	if err != nil {
		return nil, fmt.Errorf("--process: %w", err)
	}
	p := new(specs.Process)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fault.New(fault.Invalid, "--process %q: %w", file, err)
	}
	return p, nil
}

// change puts the flags and args into the container's own process.
func (f *processFlags) change(p *specs.Process, args []string) error {
	if len(args) == 0 {
		return fault.New(fault.Invalid, "exec args cannot be empty")
	}
	p.Args, p.Terminal = args, f.tty
	if f.cwd != "" {
		p.Cwd = f.cwd
	}
	if f.apparmor != "" {
		p.ApparmorProfile = f.apparmor
	}
	if f.label != "" {
		p.SelinuxLabel = f.label
	}
	if f.noNewPrivs {
		p.NoNewPrivileges = true
	}
	p.Env = append(p.Env, f.env...)
	addCapabilities(p, f.capabilities)
	if err := setUser(&p.User, f.user); err != nil {
		return err
	}
	p.User.AdditionalGids = append(p.User.AdditionalGids, f.gids...)
	return nil
}

// addCapabilities adds to the sets that a program can use. The ambient set
// needs the inheritable one, which --cap leaves alone (capabilities(7)).
func addCapabilities(p *specs.Process, names []string) {
	if len(names) == 0 {
		return
	}
	if p.Capabilities == nil {
		p.Capabilities = &specs.LinuxCapabilities{}
	}
	c := p.Capabilities
	c.Bounding = append(c.Bounding, names...)
	c.Effective = append(c.Effective, names...)
	c.Permitted = append(c.Permitted, names...)
	if len(c.Inheritable) > 0 {
		c.Ambient = append(c.Ambient, names...)
	}
}

// setUser reads UID[:GID]; an id that is not given stays.
func setUser(u *specs.User, s string) error {
	if s == "" {
		return nil
	}
	uid, gid, both := strings.Cut(s, ":")
	n, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return fault.New(fault.Invalid, "--user %q: bad uid: not a number from 0 to 4294967295", s)
	}
	u.UID = uint32(n)
	if !both {
		return nil
	}
	if n, err = strconv.ParseUint(gid, 10, 32); err != nil {
		return fault.New(fault.Invalid, "--user %q: bad gid: not a number from 0 to 4294967295", s)
	}
	u.GID = uint32(n)
	return nil
}

func checkProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0:
		return fault.New(fault.Invalid, "process.args must not be empty")
	case !path.IsAbs(p.Cwd):
		return fault.New(fault.Invalid, "process.cwd %q is not an absolute path", p.Cwd)
	}
	return nil
}
