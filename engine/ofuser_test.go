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
	}{
		"nothing said": {func(*config.Config) {}, false, ""},
		"host":         {func(c *config.Config) { c.Network.Mode = "host" }, false, ""},
		"named network": {func(c *config.Config) {
			c.Network.Mode, c.Network.Endpoints = "bridge", []config.Endpoint{{Network: "own"}}
		}, false, ""},
		"ports":       {func(c *config.Config) { c.Network.Publish = []config.Port{{Container: 80}} }, false, ""},
		"memory":      {func(c *config.Config) { c.Resources.Memory.Limit = 64 << 20 }, false, "--memory: it takes a cgroup"},
		"with memory": {func(c *config.Config) { c.Resources.Memory.Limit = 64 << 20 }, true, ""},
		"rule":        {func(c *config.Config) { c.Devices.Rules = []string{"c 1:3 rwm"} }, false, "--device-cgroup-rule: it takes a cgroup"},
		"shm":         {func(c *config.Config) { c.Resources.ShmSize = 1 << 20 }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &config.Config{}
			one.change(c)
			err := ofUser(c, !one.cgroup)
			if one.refuse != "" {
				if !fault.Is(err, fault.Unsupported) || !strings.HasPrefix(err.Error(), one.refuse) {
					t.Errorf("%v, not %q", err, one.refuse)
				}
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
