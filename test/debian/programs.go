package debian

import (
	_ "embed"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

//go:embed start-postgres
var startPostgres string

// programs are the images of real programs: what Debian's packages need to be run as the images of that name are. All have
// the same root below.
var programs = []struct {
	name   string
	config v1.ImageConfig
	files  map[string]string
}{
	{"postgres:latest", v1.ImageConfig{
		Entrypoint: []string{"start-postgres"}, Cmd: []string{"postgres"}, StopSignal: "SIGINT",
		Volumes: map[string]struct{}{"/var/lib/postgresql/data": {}}, ExposedPorts: map[string]struct{}{"5432/tcp": {}},
	}, map[string]string{"usr/local/bin/start-postgres": startPostgres}},
	{"nginx:latest", v1.ImageConfig{
		Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}, map[string]string{"var/log/nginx/access.log": "-> /dev/stdout", "var/log/nginx/error.log": "-> /dev/stderr"}},
	{"redis:latest", v1.ImageConfig{
		Entrypoint: []string{"start-redis"}, Cmd: []string{"redis-server"}, WorkingDir: "/data",
		Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"6379/tcp": {}},
	}, map[string]string{"data/": "", "usr/local/bin/start-redis": `#!/bin/sh
# the server as its own user
set -e
if [ "$1" = redis-server ]; then
	shift
	chown redis:redis .
	set -- setpriv --reuid=redis --regid=redis --init-groups redis-server --protected-mode no "$@"
fi
exec "$@"
`}},
	{"supervisor:latest", v1.ImageConfig{Cmd: []string{"supervisord", "--nodaemon", "-c", "/etc/supervisor/supervisord.conf"}}, nil},
	{"python:latest", v1.ImageConfig{Cmd: []string{"python3"}}, nil},
}

// Programs adds postgres, nginx, redis, supervisor and python, made of Debian's packages.
func (h *Hub) Programs(t testing.TB) {
	t.Helper()
	root := h.root(t, "programs")
	for _, p := range programs {
		p.config.Env = append(p.config.Env, path)
		h.add(p.name, p.config, root, p.files)
	}
}
