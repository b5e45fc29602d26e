package engine

import (
	"berth/base/fault"
	"berth/container/config"
	"berth/image"
)

// unserved refuses what a container asks for by name and does not get yet, so
// that nothing is dropped in silence; docs/scope.md has the list.
func unserved(c *config.Config, platform string) error {
	not := func(what string) error { return fault.New(fault.Unsupported, "%s is not served yet", what) }
	switch {
	case c.Process.ClearEnv:
		return not("--unsetenv-all")
	case c.Image.Volumes != "" && c.Image.Volumes != "bind":
		return not("--image-volume " + c.Image.Volumes)
	case c.Image.Platform != "" && !image.SamePlatform(c.Image.Platform, platform):
		return image.WrongPlatform(c.Image.Name, c.Image.Platform, platform)
	}
	return nil
}
