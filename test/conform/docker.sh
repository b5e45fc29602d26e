#!/bin/bash
# Compares what docker's verbs do with berth-oci and with Debian's runc: a
# dockerd of its own below a temporary folder, one line for each case.
#
#   docker.sh [CASE…]     BERTH_OCI=bin/berth-oci REFERENCE=/usr/sbin/runc KEEP=1
#
# Exit 0: all the same. Needs root, docker.io, busybox-static.
. "$(dirname "$(readlink -f "$0")")/compare.sh"
. "$here/cases.sh"
need dockerd docker containerd busybox script tar

ENGINE=docker
TMP=$(mktemp -d /tmp/conform-docker.XXXXXX)
SOCK=unix://$TMP/docker.sock
IMAGE=conform

cat >"$TMP/daemon.json" <<JSON
{"runtimes": {"reference": {"path": "$REFERENCE"}, "berth": {"path": "$BERTH"}}}
JSON
dockerd --config-file "$TMP/daemon.json" --data-root "$TMP/data" --exec-root "$TMP/exec" --pidfile "$TMP/pid" -H "$SOCK" \
	--iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none --storage-driver overlay2 >"$TMP/dockerd.log" 2>&1 &
daemon=$!

finish() {
	local rc=$?
	gone $(docker -H "$SOCK" ps -aq) >/dev/null 2>&1
	kill $daemon 2>/dev/null
	wait $daemon 2>/dev/null
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $TMP"
	else
		clear
	fi
	exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

use() { RUNTIME=$1; }
e() {
	case $1 in
	run | create) local verb=$1; shift; timeout -k 5 30 docker -H "$SOCK" "$verb" --runtime "$RUNTIME" "$@" ;;
	*) timeout -k 5 30 docker -H "$SOCK" "$@" ;;
	esac
}
u() { e run "$@"; }
r() { e run --rm --network none "$@"; }
d() { local name=$1; shift; e run -d --name "$name" --network none "$@" >/dev/null || echo "$name did not start"; }
gone() { [ $# = 0 ] || timeout -k 5 30 docker -H "$SOCK" rm -fv "$@" >/dev/null 2>&1; }
# In the foreground: on a terminal, a shell that does not replace itself by
# timeout (SHELL unset: sh) would else leave the engine stopped by SIGTTOU.
line() {
	local verb=$1; shift
	[ "$verb" != run ] || set -- --runtime "$RUNTIME" --rm --network none "$@"
	echo timeout --foreground -k 5 30 docker -H "$SOCK" "$verb" "$@"
}
UPDATE="e update"

for i in $(seq 100); do
	docker -H "$SOCK" version >/dev/null 2>&1 && break
	kill -0 $daemon 2>/dev/null || { tail -5 "$TMP/dockerd.log"; exit 2; }
	sleep 0.1
done
rootfs | docker -H "$SOCK" import - "$IMAGE" >/dev/null || exit 2
compare "$@"
