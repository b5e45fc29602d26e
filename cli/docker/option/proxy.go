package option

import (
	"slices"
	"strings"

	"berth/settings"
)

// WithProxies adds the variables of a proxy to an environment, each in both
// spellings, where the environment does not name them.
func WithProxies(env []string, p settings.Proxy) []string {
	named := func(name string) bool {
		return slices.ContainsFunc(env, func(e string) bool { return e == name || strings.HasPrefix(e, name+"=") })
	}
	var out []string
	for _, v := range []struct{ name, value string }{
		{"HTTP_PROXY", p.HTTPProxy}, {"HTTPS_PROXY", p.HTTPSProxy}, {"NO_PROXY", p.NoProxy}, {"FTP_PROXY", p.FTPProxy},
		{"ALL_PROXY", p.AllProxy},
	} {
		for _, name := range []string{v.name, strings.ToLower(v.name)} {
			if v.value != "" && !named(name) {
				out = append(out, name+"="+v.value)
			}
		}
	}
	return append(out, env...)
}
