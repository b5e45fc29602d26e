package oci

import (
	"context"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

var checkpointVerb = verb{
	name: "checkpoint", summary: "not yet there", args: "CONTAINER", min: 0, max: manyWords, leading: true, hidden: true,
	new: func() command { return &laterCommand{"checkpoint"} },
}

var restoreVerb = verb{
	name: "restore", summary: "not yet there", args: "CONTAINER", min: 0, max: manyWords, leading: true, hidden: true,
	new: func() command { return &laterCommand{"restore"} },
}

// laterCommand stands for a verb of runc that this program does not have yet.
type laterCommand struct{ name string }

// flags takes those that engines pass, so that they too see the clear error.
func (c *laterCommand) flags(s *cmdline.Set) {
	var word string
	var yes bool
	for _, name := range []string{"image-path", "work-path", "parent-path", "status-fd", "page-server", "manage-cgroups-mode",
		"empty-ns", "console-socket", "bundle,b", "pid-file", "lsm-profile", "lsm-mount-context"} {
		s.String(&word, name, "VALUE", "").Hidden = true
	}
	for _, name := range []string{"leave-running", "tcp-established", "tcp-close", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks",
		"pre-dump", "auto-dedup", "detach,d", "no-subreaper", "no-pivot", "link-remap", "tcp-skip-in-flight"} {
		s.Bool(&yes, name, "").Hidden = true
	}
}

func (c *laterCommand) run(context.Context, *call) (int, error) {
	return 0, fault.New(fault.Unsupported, "%s: this version of %s cannot checkpoint and restore containers", c.name, Name)
}
