package engine

import (
	"strings"
	"testing"

	"berth/base/fault"
	"berth/container/config"
)

func TestOfUser(t *testing.T) {
	for name, one := range map[string]struct {
		change func(*config.Config)
		cgroup bool
		refuse string // "" for none
		mode   string
	}{
		"nothing said":   {func(*config.Config) {}, false, "", "none"},
		"none":           {func(c *config.Config) { c.Network.Mode = "none" }, false, "", "none"},
		"host":           {func(c *config.Config) { c.Network.Mode = "host" }, false, "", "host"},
		"host and ports": {func(c *config.Config) { c.Network.Mode, c.Network.PublishAll = "host", true }, false, "", "host"},
		"another's":      {func(c *config.Config) { c.Network.Mode = "container:x" }, false, "", "container:x"},
		"named network": {func(c *config.Config) {
			c.Network.Mode, c.Network.Endpoints = "bridge", []config.Endpoint{{Network: "own"}}
		}, true, "network own: an ordinary user's", ""},
		"ports":       {func(c *config.Config) { c.Network.Publish = []config.Port{{Container: 80}} }, true, "publish ports: ", ""},
		"keep-id":     {func(c *config.Config) { c.Namespaces.User = "keep-id:uid=5" }, true, "--userns=keep-id:uid=5: ", ""},
		"memory":      {func(c *config.Config) { c.Resources.Memory.Limit = 64 << 20 }, false, "--memory: it takes a cgroup", ""},
		"with memory": {func(c *config.Config) { c.Resources.Memory.Limit = 64 << 20 }, true, "", "none"},
		"rule":        {func(c *config.Config) { c.Devices.Rules = []string{"c 1:3 rwm"} }, false, "--device-cgroup-rule: it takes a cgroup", ""},
		"shm":         {func(c *config.Config) { c.Resources.ShmSize = 1 << 20 }, false, "", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &config.Config{}
			one.change(c)
			asked, warned := c.Network.Mode != "", 0
			err := ofUser(c, !one.cgroup, func(string) { warned++ })
			if one.refuse != "" {
				if !fault.Is(err, fault.Unsupported) || !strings.HasPrefix(err.Error(), one.refuse) {
					t.Errorf("%v, not %q", err, one.refuse)
				}
				return
			}
			if err != nil || c.Network.Mode != one.mode || (warned == 1) == asked {
				t.Errorf("%v, mode %q, %d warnings", err, c.Network.Mode, warned)
			}
		})
	}
}
