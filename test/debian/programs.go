package debian

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

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
	}, map[string]string{"usr/local/bin/start-postgres": `#!/bin/sh
# a cluster at the first start, then the server, as its own user
set -e
if [ "$1" != postgres ]; then exec "$@"; fi
shift
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
as="setpriv --reuid=postgres --regid=postgres --init-groups"
mkdir -p $data /run/postgresql
chown postgres:postgres $data /run/postgresql
chmod 700 $data
if [ ! -s $data/PG_VERSION ]; then
	printf %s "${POSTGRES_PASSWORD:?is not set}" >/tmp/password
	chown postgres /tmp/password
	$as $bin/initdb -D $data --pwfile=/tmp/password --auth-local=peer --auth-host=scram-sha-256
	rm /tmp/password
	echo "host all all all scram-sha-256" >>$data/pg_hba.conf
fi
exec $as $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/run/postgresql "$@"
`}},
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
