package docker

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Globals are the flags before the verb. Those of docker's that are about the
// way to a daemon have nothing to reach here: the local socket is taken as
// "this engine", any other address is refused.
type Globals struct {
	// ClientDir is --config, Root and RunRoot are podman's places of the store.
	ClientDir, Root, RunRoot string
	Debug                    bool
	// Warn is told of what was skipped because it is broken.
	Warn                  func(error)
	Podman                bool
	hosts                 []string
	context, level        string
	remote, help, version bool
}

// parse reads them and gives the words behind. Most lines begin with the verb:
// those get the defaults, and nothing is bound for them.
func (g *Globals) parse(args []string) (words []string, err error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		g.ClientDir, g.level = clientDir(), usualLevel
		return args, nil
	}
	f := g.flags()
	err = f.Parse(args)
	return f.Args(), err
}

// usualLevel is --log-level where it is not given.
const usualLevel = "info"

// clientDir is --config where it is not given.
func clientDir() string {
	return cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(os.Getenv("HOME"), ".docker"))
}

// flags binds them anew.
func (g *Globals) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SetInterspersed(false)
	f.Usage = func() {}
	f.StringVar(&g.ClientDir, "config", clientDir(), "Location of client config files")
	f.BoolVarP(&g.Debug, "debug", "D", false, "Enable debug mode")
	f.StringVarP(&g.level, "log-level", "l", usualLevel, `Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")`)
	f.BoolVar(&g.help, "help", false, "Print usage")
	f.BoolVarP(&g.version, "version", "v", false, "Print version information and quit")
	command.ListFlag(f, &g.hosts, "host", "H", "Daemon socket(s) to connect to; only the local engine is served")
	f.StringVarP(&g.context, "context", "c", "", `Name of the context; only "default" is served`)
	f.StringVar(&g.Root, "root", "", "Folder of the store")
	f.StringVar(&g.RunRoot, "runroot", "", "Folder of the moment's state")
	f.BoolVarP(&g.remote, "remote", "r", false, "Access a remote service")
	command.Extra(f, "root", "runroot", "remote")
	for _, name := range []string{"tls", "tlsverify", "noout", "syslog", "transient-store"} {
		f.Bool(name, false, "")
		_ = f.MarkHidden(name)
	}
	for _, name := range []string{
		"tlscacert", "tlscert", "tlskey", "storage-driver", "cgroup-manager", "conmon", "events-backend", "namespace",
		"network-cmd-path", "network-config-dir", "runtime", "tmpdir", "volumepath", "connection", "identity", "url", "ssh",
		"imagestore", "out", "module",
	} {
		f.String(name, "", "")
		_ = f.MarkHidden(name)
	}
	for _, name := range []string{"hooks-dir", "runtime-flag", "storage-opt"} {
		f.StringArray(name, nil, "")
		_ = f.MarkHidden(name)
	}
	_ = f.MarkHidden("help")
	return f
}

// levels are the words of --log-level.
var levels = []string{"panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"}

// check refuses what would lead to another machine.
func (g *Globals) check() error {
	if !slices.Contains(levels, strings.ToLower(g.level)) {
		return command.Line("Unable to parse logging level: %s", g.level)
	}
	if g.remote {
		return fmt.Errorf("--remote: there is no remote service, this engine works on its own machine")
	}
	if c := cmp.Or(g.context, os.Getenv("DOCKER_CONTEXT")); c != "" && c != "default" && !g.Podman {
		return fmt.Errorf("context %q: context not found: only \"default\" is served", c)
	}
	hosts := g.hosts
	if h := os.Getenv("DOCKER_HOST"); h != "" && len(hosts) == 0 && !g.Podman {
		hosts = []string{h}
	}
	for _, h := range hosts {
		if !strings.HasPrefix(h, "unix://") && !strings.HasPrefix(h, "fd://") {
			return fmt.Errorf("--host %s: only the engine of this machine is served, no other is reached", h)
		}
	}
	return nil
}

// badGlobal is a flag before the verb that there is not, with the whole help as
// docker has it.
func (s *shell) badGlobal(err error) int {
	const code = 125
	if err == pflag.ErrHelp {
		return s.help(nil, s.Out, 0)
	}
	if s.dialect == command.Podman {
		return command.Report(s.Err, s.dialect, fmt.Errorf("%w\nSee '%s --help'", err, s.program))
	}
	fmt.Fprintf(s.Err, "%v\nSee '%s --help'.\n", err, s.program)
	s.help(nil, s.Err, code)
	fmt.Fprintln(s.Err)
	return code
}
