# The frame around cases.sh. Sourced by docker.sh and podman.sh after they have
# set BERTH, TMP and the functions that cases.sh needs.

set -u
here=$(dirname "$(readlink -f "$0")")
BERTH=${BERTH_OCI:-$here/../../bin/berth-oci}
REFERENCE=${REFERENCE:-/usr/sbin/runc}

need() {
	local p
	for p in "$@"; do
		command -v "$p" >/dev/null || { echo "$0: needs the program $p" >&2; exit 2; }
	done
	[ "$(id -u)" = 0 ] || { echo "$0: needs root" >&2; exit 2; }
	[ -x "$BERTH" ] || { echo "$0: $BERTH is not built: make, or set BERTH_OCI" >&2; exit 2; }
	BERTH=$(readlink -f "$BERTH")
}

# clear removes $TMP with all that is mounted below it.
clear() {
	local at
	awk -v tmp="$TMP/" 'index($5, tmp) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r at; do
		umount "$at"
	done
	rm -rf --one-file-system "$TMP"
}

# rootfs writes a tar of a small root file system to standard output.
rootfs() {
	local dir=$TMP/rootfs
	mkdir -p "$dir/bin" "$dir/etc" "$dir/tmp" "$dir/mnt" "$dir/root" "$dir/proc" "$dir/sys" "$dir/dev"
	cp "$(command -v busybox)" "$dir/bin/busybox"
	busybox --list | while read -r name; do
		[ "$name" = busybox ] || ln -sf busybox "$dir/bin/$name"
	done
	ln -sfn bin "$dir/sbin"
	chmod 1777 "$dir/tmp"
	echo root:x:0:0:root:/root:/bin/sh >"$dir/etc/passwd"
	echo root:x:0: >"$dir/etc/group"
	tar -C "$dir" -c .
}

# bounded NAME runs a case as a process group of its own, 90 seconds at most.
# One that takes longer is ended, and its outcome says so and what was there.
bounded() {
	local group i
	set -m
	( "case_$1" ) >"$TMP/$1.$RUN" 2>"$TMP/$1.$RUN.err" </dev/null &
	group=$!
	set +m
	for i in $(seq 1800); do
		kill -0 $group 2>/dev/null || break
		sleep 0.05
	done
	if kill -0 $group 2>/dev/null; then
		{
			echo "case $1 with $RUN: not done after 90 s; then there were:"
			ps -eo pid,ppid,stat,wchan:24,etimes,args --forest | grep -v ' \[' | tail -60
		} >>"$TMP/$1.$RUN"
		kill -KILL -- -$group
	fi
	wait $group 2>/dev/null
}

# sampled prints the cases to run: all in a sweep and without a seed, else the
# half that BERTH_SEED draws for docker, the other half for podman.
sampled() {
	local parity=0
	[ "$ENGINE" = docker ] || parity=1
	declare -F | sed -n 's/^declare -f case_//p' |
		if [ "${BERTH_SWEEP:-}" = 1 ] || [ -z "${BERTH_SEED:-}" ]; then
			cat
		else
			awk -v s="$BERTH_SEED" 'BEGIN {srand(s)} {print rand(), $1}' | sort -n | awk -v p=$parity 'NR % 2 == p {print $2}'
		fi
}

# compare NAME… runs the cases (without names, as sampled says) with both
# runtimes, prints a line for each, and returns 1 if one differs.
compare() {
	local name bad=0 start
	[ $# -gt 0 ] || set -- $(sampled)
	use reference
	PRIVILEGED=no
	r --privileged "$IMAGE" true >/dev/null 2>&1 && PRIVILEGED=yes
	printf '%-16s %-8s %s\n' case outcome seconds
	for name in "$@"; do
		start=$SECONDS
		for RUN in reference berth; do
			use $RUN
			bounded "$name"
			gone $(e ps -aq) >/dev/null 2>&1
		done
		if grep -qx Killed "$TMP/$name.reference" "$TMP/$name.berth"; then
			bad=1
			printf '%-16s %-8s %d\n' "$name" HUNG $((SECONDS - start))
			grep -Hx -B3 Killed "$TMP/$name.reference" "$TMP/$name.berth" | sed 's/^/    /'
			continue
		fi
		if cmp -s "$TMP/$name.reference" "$TMP/$name.berth"; then
			printf '%-16s %-8s %d\n' "$name" same $((SECONDS - start))
			continue
		fi
		bad=1
		printf '%-16s %-8s %d\n' "$name" DIFFERS $((SECONDS - start))
		diff -u --label reference --label berth "$TMP/$name.reference" "$TMP/$name.berth" | sed 's/^/    /'
		sed 's/^/    berth says: /' "$TMP/$name.berth.err" | head -20
	done
	return $bad
}
