#!/bin/bash
# podman: the outcomes of Podman (table/outcomes) with Debian's runc and with berth-oci are the same, as the lingering user
# and, in the sweep, as root, with the systemd cgroup driver, but for what table/differences.sed lists. Prints a line for
# each case that is not; exits 1 if there is one. BERTH_REFERENCE is another runtime to compare with; OUTCOMES_SHOW=1
# prints the reference's outcomes.
set -u
[[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]] || { echo "podman: an ordinary user has no cgroups on v1: nothing to compare"; exit 0; }
modprobe overlay
dir=$(mktemp -d)
chmod 777 "$dir"
outcomes=$GUEST_TOP/test/guest/table/outcomes
reference=${BERTH_REFERENCE:-/usr/sbin/runc}
users=(user)
[[ -z ${BERTH_SWEEP:-} ]] || users+=(root)

both() { # both WHO
	local who=$1 runner=(env HOME=/root XDG_CACHE_HOME=/root/.cache) runtime
	[[ $who == root ]] || runner=(as-user env XDG_CACHE_HOME=/home/berth/.cache)
	"${runner[@]}" bash "$outcomes" "$reference" image </dev/null || { echo "podman: no image as $who"; return; }
	for runtime in "$reference" "$BERTH_OCI"; do
		"${runner[@]}" OUTCOMES_LOG="$dir/$who.${runtime##*/}.log" bash "$outcomes" "$runtime" \
			</dev/null >"$dir/$who.${runtime##*/}" 2>&1 &
	done
	wait
}

compare() { # compare WHO
	local expected=$dir/$1.expected got=$dir/$1.${BERTH_OCI##*/}
	sed -E -f "$GUEST_TOP/test/guest/table/differences.sed" "$dir/$1.${reference##*/}" >"$expected"
	paste -d '\n' "$expected" "$got" | awk -v who="$1" '
		NR % 2 { want = $0; next }
		{ name = want; sub(/:.*/, "", name); total++ }
		want == $0 { same++; next }
		{ printf "FAIL  podman %s as %s\n      runc:  %s\n      berth: %s\n", name, who, want, $0 }
		END { printf "podman as %s: %d of %d outcomes equal runc'"'"'s\n", who, same, total; exit !(same == total && total > 0) }'
}

status=0
for who in "${users[@]}"; do
	both "$who"
	compare "$who" || { status=1; tail -n 20 "$dir/$who.${BERTH_OCI##*/}.log"; }
done
if [[ -n ${OUTCOMES_SHOW:-} ]]; then cat "$dir/user.${reference##*/}"; fi
exit "$status"
