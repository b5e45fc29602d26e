package option

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// stdio is what the client and the container exchange.
type stdio struct {
	attach                   []string
	tty, open, detach, proxy bool
	keys                     string
}

func (s *stdio) flags(f *pflag.FlagSet, run bool) {
	f.VarP(&value{kind: "list", take: s.addStream}, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	f.BoolVarP(&s.open, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&s.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	if !run {
		return
	}
	f.BoolVarP(&s.detach, "detach", "d", false, "Run container in background and print container ID")
	f.StringVar(&s.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.BoolVar(&s.proxy, "sig-proxy", true, "Proxy received signals to the process")
}

func (s *stdio) addStream(word string) error {
	word = strings.ToLower(word)
	if !slices.Contains([]string{"stdin", "stdout", "stderr"}, word) {
		return fmt.Errorf("valid streams are STDIN, STDOUT and STDERR")
	}
	s.attach = append(s.attach, word)
	return nil
}

func (o *Options) readStdio(Around) error {
	s, c := &o.stdio, &o.config.Stdio
	c.Terminal, c.OpenStdin = s.tty, s.open
	if s.detach {
		if len(s.attach) > 0 {
			return &command.Exit{Code: 1, Err: command.Line("Conflicting options: -a and -d")}
		}
		return nil
	}
	has := func(name string) bool { return slices.Contains(s.attach, name) }
	none := len(s.attach) == 0
	c.AttachStdin = has("stdin") || s.open
	c.AttachStdout, c.AttachStderr = has("stdout") || none, has("stderr") || none
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return nil
}
