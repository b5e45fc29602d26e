package credential

import (
	"path/filepath"
	"strconv"
)

// DockerFiles is docker's one file: $DOCKER_CONFIG/config.json or
// ~/.docker/config.json; nothing if there is no home.
func DockerFiles(getenv func(string) string) []string {
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		return []string{filepath.Join(dir, "config.json")}
	}
	if home := getenv("HOME"); home != "" {
		return []string{filepath.Join(home, ".docker/config.json")}
	}
	return nil
}

// PodmanFiles is podman's order (containers-auth.json(5)): REGISTRY_AUTH_FILE
// alone if it is set, else auth.json of the run folder, auth.json of the
// user's configuration, docker's file. The first is where login writes.
func PodmanFiles(getenv func(string) string, uid int) []string {
	if file := getenv("REGISTRY_AUTH_FILE"); file != "" {
		return []string{file}
	}
	var out []string
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, filepath.Join(dir, "containers/auth.json"))
	} else {
		out = append(out, filepath.Join("/run/containers", strconv.Itoa(uid), "auth.json"))
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		out = append(out, filepath.Join(dir, "containers/auth.json"))
	} else if home := getenv("HOME"); home != "" {
		out = append(out, filepath.Join(home, ".config/containers/auth.json"))
	}
	return append(out, DockerFiles(getenv)...)
}
