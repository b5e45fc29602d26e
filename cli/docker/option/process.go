package option

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// process is what the first process is and sees.
type process struct {
	entrypoint           string
	env, envFiles, unset []string
	host, httpProxy      bool
}

func (p *process) flags(f *pflag.FlagSet, c *config.Process) {
	f.StringVar(&p.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	EnvFlags(f, &p.env, &p.envFiles)
	f.StringVarP(&c.User, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringVarP(&c.WorkDir, "workdir", "w", "", "Working directory inside the container")
	f.Var(listed(&c.Groups, nil), "group-add", "Add additional groups to join")
	f.BoolVar(&c.Init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	f.StringVar(&c.Umask, "umask", "", "Set the umask in the container (octal)")
	f.StringVar(&c.TimeZone, "tz", "", "Set the time zone in the container")
	f.Var(listed(&p.unset, nil), "unsetenv", "Unset a variable of the image")
	f.BoolVar(&c.ClearEnv, "unsetenv-all", false, "Unset all variables of the image")
	f.BoolVar(&p.host, "env-host", false, "Use all variables of the caller in the container")
	f.BoolVar(&p.httpProxy, "http-proxy", true, "Pass the caller's proxy variables to the container")
	f.Lookup("http-proxy").Hidden = true // podman's default in its dialect alone
	command.Extra(f, "umask", "tz", "unsetenv", "unsetenv-all", "env-host", "http-proxy")
}

// EnvFlags adds -e and --env-file, which exec has too.
func EnvFlags(f *pflag.FlagSet, env, files *[]string) {
	f.VarP(listed(env, checkVariable), "env", "e", "Set environment variables")
	f.Var(listed(files, nil), "env-file", "Read in a file of environment variables")
}

// proxyNames are the variables that podman passes on.
var proxyNames = []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"}

func (o *Options) readProcess(a Around) error {
	c, p := &o.config.Process, &o.process
	words, err := a.Variables(p.envFiles, p.env)
	if err != nil {
		return err
	}
	var env []string
	if p.host {
		env = append(env, a.Environ()...)
	}
	if o.config.Image.Dialect == "podman" && p.httpProxy {
		for _, name := range proxyNames {
			if v, ok := a.Getenv(name); ok {
				env = append(env, name+"="+v)
			}
		}
	}
	env = append(env, p.unset...)
	c.Env = lastOfEach(append(env, words...))
	if !o.changed("entrypoint") {
		return nil
	}
	return o.readEntrypoint()
}

// readEntrypoint takes the word as it is; one that is a JSON list is podman's
// way to give several.
func (o *Options) readEntrypoint() error {
	c, word := &o.config.Process, o.process.entrypoint
	c.ClearEntrypoint = word == ""
	if c.ClearEntrypoint {
		return nil
	}
	c.Entrypoint = []string{word}
	if o.config.Image.Dialect == "podman" && strings.HasPrefix(word, "[") {
		var list []string
		if json.Unmarshal([]byte(word), &list) == nil {
			c.Entrypoint, c.ClearEntrypoint = list, len(list) == 0
		}
	}
	return nil
}

// lastOfEach keeps each variable once, the last of a name at the first one's
// place.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return slices.Clip(out)
}
