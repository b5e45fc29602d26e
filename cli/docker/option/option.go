// Package option is the options of run and create, and those of them that
// other verbs share: their flags, and what they say as a container/config.
// Reading a command line looks at nothing but the files and variables that it
// names, through Around. It knows no verb and no engine. Row 6.
//
//	Flags ── pflag ── Read ── config.Config and what the client itself has to know
//
// An error has docker's words. What docker's daemon would find wrong is not
// looked for here but in config.Check.
package option

import (
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// Around is what a command line refers to without being it.
type Around struct {
	Getenv  func(string) (string, bool)
	Environ func() []string
	Open    func(path string) (io.ReadCloser, error)
	Abs     func(path string) (string, error)
}

// Here is this process's surroundings.
func Here() Around {
	return Around{
		Getenv: os.LookupEnv, Environ: os.Environ, Abs: filepath.Abs,
		Open: func(path string) (io.ReadCloser, error) { return os.Open(path) },
	}
}

// Options are the flags of run and create.
type Options struct {
	// Run adds the flags that create does not have.
	Run bool

	config   config.Config
	name     string
	replace  bool
	rmi      bool
	quiet    bool
	platform command.Platform
	access   command.Access
	process  process
	stdio    stdio
	network  network
	mounts   mounts
	limits   Limits
	devices  devices
	security security
	health   health
	life     life
	flags    *pflag.FlagSet
}

// Asked is a command line that was read.
type Asked struct {
	Config      config.Config
	Name        string
	Replace     bool // podman's: a container of that name gives way
	RemoveImage bool // podman's --rmi
	Quiet       bool // nothing is said about a pull
	Access      *command.Access
	// The client's half of a run.
	Detach     bool
	DetachKeys string // "" the default
	SigProxy   bool
}

// Flags adds them; the word behind the first one that is no flag ends them.
func (o *Options) Flags(f *pflag.FlagSet) {
	o.flags = f
	f.SetInterspersed(false)
	o.imageFlags(f)
	o.process.flags(f, &o.config.Process)
	o.stdio.flags(f, o.Run)
	o.network.flags(f, &o.config)
	o.mounts.flags(f)
	o.limits.Flags(f)
	o.limits.createFlags(f)
	o.devices.flags(f)
	o.security.flags(f, &o.config)
	o.health.flags(f)
	o.lifeFlags(f)
	o.takenFlags(f)
}

func (o *Options) imageFlags(f *pflag.FlagSet) {
	c := &o.config
	f.StringVar(&o.name, "name", "", "Assign a name to the container")
	o.platform.Flags(f, "Set platform if server is multi-platform capable")
	f.StringVar(&c.Image.Pull, "pull", "missing", `Pull image before `+o.doing()+` ("always"|"missing"|"never")`)
	f.Bool("disable-content-trust", true, "Skip image verification")
	f.Var(listed(&o.mounts.storage, nil), "storage-opt", "Storage driver options for the container")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the pull output")
	f.StringVar(&c.Image.Volumes, "image-volume", "", "What becomes of the image's volumes (bind|tmpfs|ignore)")
	f.BoolVar(&o.replace, "replace", false, "If a container with the same name exists, replace it")
	f.BoolVar(&o.rmi, "rmi", false, "Remove the image unless used by other containers")
	o.access.Flags(f)
	command.Extra(f, "quiet", "image-volume", "replace", "rmi")
}

// doing is what comes after the pull.
func (o *Options) doing() string {
	if o.Run {
		return "running"
	}
	return "creating"
}

func (o *Options) lifeFlags(f *pflag.FlagSet) {
	c := &o.config
	f.BoolVar(&c.Life.Remove, "rm", false, "Automatically remove the container when it exits")
	f.StringVar(&c.Life.CIDFile, "cidfile", "", "Write the container ID to the file")
	f.StringVar(&c.Life.PIDFile, "pidfile", "", "Write the container process ID to the file")
	f.StringVar(&c.Life.Runtime, "runtime", "", "Runtime to use for this container")
	f.StringVar(&o.life.restart, "restart", "no", "Restart policy to apply when a container exits")
	f.StringVar(&c.Stop.Signal, "stop-signal", "SIGTERM", "Signal to stop a container")
	f.Int("stop-timeout", 0, "Timeout (in seconds) to stop a container")
	f.UintVar(&c.Life.Timeout, "timeout", 0, "Seconds after which the container is killed")
	f.StringVar(&c.Log.Driver, "log-driver", "", "Logging driver for the container")
	f.Var(listed(&o.life.logOptions, nil), "log-opt", "Log driver options")
	f.VarP(listed(&o.life.labels, checkLabel), "label", "l", "Set meta data on a container")
	f.Var(listed(&o.life.labelFiles, nil), "label-file", "Read in a line delimited file of labels")
	f.Var(listed(&o.life.annotations, nil), "annotation", "Add an annotation to the container (key=value)")
	command.Extra(f, "pidfile", "timeout", "annotation")
}

// takenFlags are flags of podman's that ask for what holds anyway.
func (o *Options) takenFlags(f *pflag.FlagSet) {
	var i command.Ignored
	i.String(f, "cgroups", "Taken for podman's sake; a container always has a cgroup")
	i.String(f, "sdnotify", "Taken for podman's sake")
	i.String(f, "conmon-pidfile", "Taken for podman's sake; there is no conmon")
}

// changed reports whether a flag was given.
func (o *Options) changed(name string) bool { return o.flags.Changed(name) }

// Read makes the words of a command line what they ask for: words are the image
// and the command. The flags must have been parsed.
func (o *Options) Read(d command.Dialect, a Around, words []string) (Asked, error) {
	c := &o.config
	c.Version = config.Version
	c.Image.Name, c.Process.Args = words[0], slices.Clone(words[1:])
	c.Image.Dialect = "docker"
	if d == command.Podman {
		c.Image.Dialect = "podman"
	}
	for _, read := range []func(Around) error{
		o.readImage, o.readStdio, o.readNetwork, o.readMounts, o.readProcess, o.readNamespaces, o.readLimits,
		o.readSecurity, o.readHealth, o.readLife,
	} {
		if err := read(a); err != nil {
			return Asked{}, err
		}
	}
	return Asked{
		Config: *c, Name: o.name, Replace: o.replace, RemoveImage: o.rmi, Quiet: o.quiet, Access: &o.access,
		Detach: o.stdio.detach, DetachKeys: o.stdio.keys, SigProxy: o.stdio.proxy && !c.Stdio.Terminal,
	}, nil
}

func (o *Options) readImage(Around) error {
	platform, err := o.platform.Value(goruntime.GOARCH)
	o.config.Image.Platform = platform
	if off, _ := o.flags.GetBool("disable-content-trust"); !off {
		return command.ErrContentTrust
	}
	if c := &o.config.Image; !slices.Contains([]string{"always", "missing", "never", "newer"}, c.Pull) {
		if c.Dialect == "podman" {
			return command.Line("invalid pull policy %q: want always, missing, never or newer", c.Pull)
		}
		c.Pull = "missing" // as docker takes it
	}
	if v := o.config.Image.Volumes; err == nil && !slices.Contains([]string{"", "bind", "tmpfs", "ignore"}, v) {
		err = command.Line("invalid image-volume type %q: want bind, tmpfs or ignore", v)
	}
	return err
}
