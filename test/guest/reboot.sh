#!/bin/bash
# reboot: containers over a real reboot, of root by the system's unit and of the lingering user by his own; by hand and in
# make test-sweep, as test/guest/run --reboots test/guest/reboot.sh. It runs twice, once in each boot; what it finds
# in the second one counts.
set -u
home=/var/lib/berth-reboot failed=0
check() { # check WHAT COMMAND…
	local what=$1
	shift
	if "$@" >/tmp/said 2>&1; then echo "ok    $what"; else echo "FAIL  $what: $(cat /tmp/said)"; failed=1; fi
}
is() { # is WANT COMMAND…: the command prints that alone
	local want=$1 got
	shift
	got=$("$@" 2>&1 | sort | tr '\n' ' ')
	[[ $got == "$want" ]] || { echo "$got"; return 1; }
}
names='ps --format {{.Names}}'

if [[ ! -e $home ]]; then
	mkdir $home
	cp "$GUEST_TOP/bin/berth" /usr/local/bin/
	mkdir -p /usr/local/lib/systemd/system /usr/local/lib/systemd/user
	sed 's|@BINDIR@|/usr/local/bin|' "$GUEST_TOP/cmd/berth/systemd/berth.service.in" >/usr/local/lib/systemd/system/berth.service
	sed 's|@BINDIR@|/usr/local/bin|' "$GUEST_TOP/cmd/berth/systemd/berth-user.service.in" >/usr/local/lib/systemd/user/berth.service
	systemctl daemon-reload
	as-user systemctl --user daemon-reload
	check "root's unit starts" systemctl enable --now berth
	check "the user's unit starts" as-user systemctl --user enable --now berth
	for berth in berth 'as-user berth'; do
		$berth run -d --name always --restart always --network none -v /bin/busybox:/busybox:ro berth/base /busybox sh -c 'trap "echo bye; exit 0" TERM; echo hello; while :; do /busybox sleep 1; done' || failed=1
		$berth run -d --name stopped --restart unless-stopped --network none berth/base sleep 100000 || failed=1
		$berth run -d --name plain --network none berth/base sleep 100000 || failed=1
		$berth stop -t 1 stopped
		check "$berth: before the reboot" is 'always plain ' $berth $names
	done
	((failed == 0)) || exit 1
	cat /proc/sys/kernel/random/boot_id >$home/boot
	systemctl reboot
	sleep infinity
fi

check "it is another boot" sh -c "! cmp -s $home/boot /proc/sys/kernel/random/boot_id"
for _ in $(seq 600); do
	[[ $(systemctl is-active berth) == active && $(as-user systemctl --user is-active berth) == active ]] && break
	sleep 0.1
done
for berth in berth 'as-user berth'; do
	check "$berth: what returned" is 'always ' $berth $names
	check "$berth: it was stopped in order, and began anew" is 'bye hello hello ' $berth logs always
	check "$berth: plain has ended" is 'exited false ' $berth inspect -f '{{.State.Status}} {{.State.Running}}' plain
	$berth rm -f always stopped plain
done
systemctl --no-legend --plain list-units --state=failed | sed 's/^/failed unit: /'
exit "$failed"
