#!/bin/bash
# Types the same image command lines at Debian's engine and at berth, each with
# a store of its own and one registry between them, and compares what is
# printed, where, and the exit codes. Names of temporary folders, ages and
# sizes (the peers count files, berth counts blocks) are made equal before, and
# docker's line "Verifying Checksum", which depends on the moment, is left out.
#
#   images.sh [docker|podman]     BERTH=bin/berth KEEP=1 SHOW=1
#
# Without a word it does both, beside each other. Exit 0: all the same, or
# different as images-differ.txt lists. Needs root, docker.io or podman,
# docker-registry, busybox-static, tar.
set -u
here=$(dirname "$(readlink -f "$0")")
if [ $# = 0 ]; then
	"$0" podman &
	"$0" docker
	rc=$?
	wait $! && exit $rc
	exit 1
fi
DIALECT=$1
BERTH=${BERTH:-$here/../../bin/berth}
TMP=$(mktemp -d /tmp/conform-images.XXXXXX)
PORT=$((20000 + RANDOM % 20000))
R=127.0.0.1:$PORT
pids=()

finish() {
	local rc=$?
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; done
	umount "$TMP"/*/*/overlay "$TMP"/*/overlay 2>/dev/null
	if [ -n "${KEEP:-}" ]; then echo "kept: $TMP"; else rm -rf --one-file-system "$TMP"; fi
	exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

registry() {
	cat >"$TMP/registry.yml" <<-YML
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $TMP/registry}}
		http: {addr: $R}
	YML
	docker-registry serve "$TMP/registry.yml" >"$TMP/registry.log" 2>&1 &
	pids+=($!)
}

# peer and ours run one command line in the dialect.
case $DIALECT in
docker)
	echo '{"insecure-registries": ["127.0.0.0/8"]}' >"$TMP/daemon.json"
	dockerd --config-file "$TMP/daemon.json" --data-root "$TMP/data" --exec-root "$TMP/exec" --pidfile "$TMP/pid" -H "unix://$TMP/sock" \
		--iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none --storage-driver overlay2 >"$TMP/dockerd.log" 2>&1 &
	pids+=($!)
	export DOCKER_HOST=unix://$TMP/sock
	peer() { DOCKER_CONFIG=$TMP/config-peer timeout -k 5 60 /usr/bin/docker "$@"; }
	ours() { DOCKER_CONFIG=$TMP/config-ours timeout -k 5 60 "$TMP/docker" "$@"; }
	;;
podman)
	peer() { XDG_RUNTIME_DIR=$TMP/xdg-peer timeout -k 5 60 /usr/bin/podman --log-level error --root "$TMP/p" --runroot "$TMP/pr" "$@"; }
	ours() { XDG_RUNTIME_DIR=$TMP/xdg-ours timeout -k 5 60 "$TMP/podman" "$@"; }
	;;
*) echo "images.sh [docker|podman]" >&2; exit 2 ;;
esac
ln -s "$(readlink -f "$BERTH")" "$TMP/$DIALECT"
export BERTH_ROOT=$TMP/store BERTH_RUN=$TMP/run
registry
mkdir -p "$TMP/xdg-peer" "$TMP/xdg-ours" "$TMP/root/bin" "$TMP/peer" "$TMP/ours"
cp /bin/busybox "$TMP/root/bin/"
echo hello >"$TMP/root/file"
tar -C "$TMP/root" --sort=name --mtime=@1700000000 -cf "$TMP/root.tar" .
for i in $(seq 100); do
	[ "$DIALECT" = podman ] || peer version >/dev/null 2>&1 && (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && break
	sleep 0.1
done

# normal makes times and the two stores' folders equal.
normal() {
	sed -E -e "s#$TMP/(peer|ours)#WORK#g; s#$TMP/config-(peer|ours)#CONFIG#g; s#$TMP/(p|data|store)\b[^ \",]*#STORE#g" \
		-e 's/(About an?|Less than a|[0-9]+) (second|minute|hour|day|week|month|year)s?( ago)?/AGE/g; s/AGE +/AGE /g; s/CREATED +/CREATED /g' \
		-e '/: Verifying Checksum$/d; s/\b[0-9.]+ ?([kMG]?B)\b/SIZE/g; s/SIZE +/SIZE /g' \
		-e 's/docker-import-[0-9]+/TEMP/g; s/"LastTagTime": ".*"/"LastTagTime": "TIME"/' "$1"
}

same=0 listed=0 wrong=0
compare() {
	local side rc
	for side in peer ours; do
		(cd "$TMP/$side" && $side "$@" </dev/null >"$TMP/$side.out" 2>"$TMP/$side.err")
		rc=$?
		{ normal "$TMP/$side.out"; echo "--- standard error"; normal "$TMP/$side.err"; echo "--- exit $rc"; } >"$TMP/$side.txt"
	done
	local line="$DIALECT $*"
	line=${line//$R/REGISTRY} line=${line//$TMP/TMP}
	if cmp -s "$TMP/peer.txt" "$TMP/ours.txt"; then
		same=$((same + 1))
	elif grep -qxF "$line" <(sed 's/ *#.*//' "$here/images-differ.txt") 2>/dev/null && cmp -s <(tail -1 "$TMP/peer.txt") <(tail -1 "$TMP/ours.txt"); then
		listed=$((listed + 1))
		[ -z "${SHOW:-}" ] || { echo "listed: $line"; diff "$TMP/peer.txt" "$TMP/ours.txt"; }
	else
		wrong=$((wrong + 1))
		echo "DIFFERS: $line"
		diff "$TMP/peer.txt" "$TMP/ours.txt"
	fi
}

# seed puts the first image into the registry, from the peer.
I=$R/x/bb:v1
seed=(push)
[ "$DIALECT" = docker ] || seed+=(--tls-verify=false)
peer import -c 'CMD ["/bin/busybox","sh"]' -c 'LABEL a=b' "$TMP/root.tar" "$I" >/dev/null 2>&1 || exit 2
peer tag "$I" "$R/x/bb:v2" && peer "${seed[@]}" "$I" >/dev/null 2>&1 && peer "${seed[@]}" "$R/x/bb:v2" >/dev/null 2>&1 || exit 2
peer rmi "$I" "$R/x/bb:v2" >/dev/null

while IFS= read -r line; do
	case $line in '' | '#'*) continue ;; esac
	eval "compare $line"
done <"$here/images-$DIALECT.txt"
echo "$DIALECT: $same the same, $listed different as listed, $wrong different"
[ $wrong = 0 ]
