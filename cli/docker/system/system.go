// Package system is the verbs on the engine as a whole in docker's and podman's
// words: df, prune, check, import-from, version, info, completion, man. The
// half of them that is about images is here; containers join it later. Row 6.
package system

import (
	"fmt"

	units "github.com/docker/go-units"

	"berth/cli/docker/command"
)

// Version is berth's own; the other two are those whose words it speaks, which
// scripts compare.
const (
	Version       = "0.1.0"
	DockerVersion = "20.10.24"
	PodmanVersion = "4.3.1"
	apiVersion    = "1.41"
	minAPIVersion = "1.12"
)

// Words is the answer to --version.
func Words(d command.Dialect, program string) string {
	switch d {
	case command.Docker:
		return fmt.Sprintf("Docker version %s, build berth-%s", DockerVersion, Version)
	case command.Podman:
		return "podman version " + PodmanVersion
	}
	return fmt.Sprintf("%s version %s", program, Version)
}

func humanSize(n int64) string { return units.HumanSize(float64(n)) }
