#!/bin/bash
# Compares what podman's verbs do with berth-oci and with Debian's runc: a store
# of its own below a temporary folder, one line for each case.
#
#   podman.sh [CASE…]     BERTH_OCI=bin/berth-oci REFERENCE=/usr/sbin/runc KEEP=1
#
# Exit 0: all the same. Needs root, podman, busybox-static.
. "$(dirname "$(readlink -f "$0")")/compare.sh"
. "$here/cases.sh"
need podman conmon busybox script tar

ENGINE=podman
TMP=$(mktemp -d /tmp/conform-podman.XXXXXX)
IMAGE=localhost/conform
export CONTAINERS_CONF=$TMP/containers.conf
# podman's own limits are above what a machine may allow.
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n' >"$CONTAINERS_CONF"
GLOBAL="--root $TMP/root --runroot $TMP/run --tmpdir $TMP/tmp --cgroup-manager cgroupfs --events-backend file --storage-driver overlay"

finish() {
	local rc=$?
	use berth
	gone $(e ps -aq) >/dev/null 2>&1
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $TMP"
	else
		clear
	fi
	exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

use() {
	case $1 in
	reference) RUNTIME=$REFERENCE ;;
	*) RUNTIME=$BERTH ;;
	esac
}
e() { timeout -k 5 30 podman $GLOBAL --runtime "$RUNTIME" "$@"; }
u() { e run "$@"; }
r() { e run --rm --network none "$@"; }
d() { local name=$1; shift; e run -d --name "$name" --network none "$@" >/dev/null || echo "$name did not start"; }
gone() { [ $# = 0 ] || e rm -f -t 0 "$@" >/dev/null 2>&1; }
# In the foreground: on a terminal, a shell that does not replace itself by
# timeout (SHELL unset: sh) would else leave the engine stopped by SIGTTOU.
line() {
	local verb=$1; shift
	[ "$verb" != run ] || set -- --rm --network none "$@"
	echo timeout --foreground -k 5 30 podman $GLOBAL --runtime "$RUNTIME" "$verb" "$@"
}
UPDATE="e update"

cd "$TMP" # conmon leaves a file in its working folder when memory is short
use reference
rootfs >"$TMP/rootfs.tar"
e import "$TMP/rootfs.tar" conform >/dev/null 2>&1 || { e import "$TMP/rootfs.tar" conform; exit 2; }
compare "$@"
