#!/bin/bash
# reboot: containers over real reboots, of root by the system's unit and of the lingering user by his own; by hand and in
# make test-sweep, as
#   test/guest/run --reboots --add "$(test/debian/root programs)/layer" test/guest/reboot.sh
# It runs in each of three boots: after the first the machine goes down in order, after the second it is reset. All the
# time PostgreSQL is written to: what it acknowledged before must be there after. What the last boot finds counts.
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
within() { # within SECONDS COMMAND…
	local end=$((SECONDS + $1))
	shift
	until "$@" >/tmp/last 2>&1; do
		((SECONDS < end)) || { cat /tmp/last; return 1; }
		sleep 0.3
	done
}
names='ps --format {{.Names}}'
everyone=(root user)
berth_of() { [[ $1 == root ]] && echo berth || echo as-user berth; }

ready() { within 600 $1 exec db pg_isready -h 127.0.0.1; }
# start_writing WHO FROM: a row after the other; the number of each that was acknowledged is written down, synced.
start_writing() {
	local berth
	berth=$(berth_of "$1")
	seq "$2" 1000000 2>/dev/null | sed 's/.*/insert into t values (&) returning n;/' 2>/dev/null |
		$berth exec -i -u postgres db stdbuf -oL psql -Atq 2>"$home/$1.errors" |
		dd of="$home/$1.noted" oflag=append,dsync conv=notrunc status=none &
}
noted() { # noted WHO LEAST: so many are written down
	(($(wc -l <"$home/$1.noted") >= $2)) || { cat "$home/$1.errors"; return 1; }
}
# kept WHO: all that was written down is in the table. A last line that a reset has cut does not count.
kept() {
	local lost
	$(berth_of "$1") exec -u postgres db psql -Atc 'select n from t' >/tmp/rows || return 1
	head -n "$(wc -l <"$home/$1.noted")" "$home/$1.noted" >/tmp/noted
	lost=$(comm -23 <(sort /tmp/noted) <(sort /tmp/rows) | cat -v)
	echo "      $1: $(wc -l </tmp/noted) acknowledged, $(wc -l </tmp/rows) in the table" >&3
	[[ -z $lost ]] || { echo "lost rows: $lost"; return 1; }
}

# write_all LEAST FROM: both write, until there is so much.
write_all() {
	for who in "${everyone[@]}"; do start_writing "$who" "$2"; done
	for who in "${everyone[@]}"; do check "$who: writes" within 300 noted "$who" "$1"; done
}

install_units() {
	cp "$GUEST_TOP/bin/berth" /usr/local/bin/
	mkdir -p /usr/local/lib/systemd/system /usr/local/lib/systemd/user
	sed 's|@BINDIR@|/usr/local/bin|' "$GUEST_TOP/cmd/berth/systemd/berth.service.in" >/usr/local/lib/systemd/system/berth.service
	sed 's|@BINDIR@|/usr/local/bin|' "$GUEST_TOP/cmd/berth/systemd/berth-user.service.in" >/usr/local/lib/systemd/user/berth.service
	systemctl daemon-reload
	as-user systemctl --user daemon-reload
	check "root's unit starts" systemctl enable --now berth
	check "the user's unit starts" as-user systemctl --user enable --now berth
}

containers() { # containers WHO
	local berth
	berth=$(berth_of "$1")
	$berth run -d --name always --restart always --network none -v /bin/busybox:/busybox:ro berth/base /busybox sh -c 'trap "echo bye; exit 0" TERM; echo hello; while :; do /busybox sleep 1; done' || failed=1
	$berth run -d --name stopped --restart unless-stopped --network none berth/base sleep 100000 || failed=1
	$berth run -d --name plain --network none berth/base sleep 100000 || failed=1
	$berth stop -t 1 stopped
	check "$1: before the reboot" is 'always plain ' $berth $names
	SECONDS=0
	check "$1: PostgreSQL's image" $berth import /payload/add/layer postgres
	echo "      imported in $SECONDS s"
	$berth run -d --name db --restart always --network none --stop-signal INT --stop-timeout 120 -e POSTGRES_PASSWORD=secret \
		-v data:/var/lib/postgresql/data -v $home/start-postgres:/usr/local/bin/start-postgres:ro postgres start-postgres postgres || failed=1
	check "$1: PostgreSQL starts" ready "$berth"
	: >"$home/$1.noted"
	check "$1: a table" $berth exec -u postgres db psql -c 'create table t (n int primary key)'
}

booted() {
	[[ $(systemctl is-active berth) == active && $(as-user systemctl --user is-active berth) == active ]]
}

# returned WHAT: what must be so after every reboot.
returned() {
	check "$1: it is another boot" sh -c "! cmp -s $home/boot /proc/sys/kernel/random/boot_id"
	check "$1: the units have started" within 300 booted
	for who in "${everyone[@]}"; do
		berth=$(berth_of "$who")
		check "$1, $who: what returned" is 'always db ' $berth $names
		check "$1, $who: plain has ended" is 'exited false ' $berth inspect -f '{{.State.Status}} {{.State.Running}}' plain
		check "$1, $who: PostgreSQL is back" ready "$berth"
		check "$1, $who: nothing is lost" kept "$who"
		check "$1, $who: check" $berth check
	done
}

exec 3>&1
if [[ ! -e $home ]]; then
	mkdir $home
	install -m 755 "$GUEST_TOP/test/debian/start-postgres" $home/
	install_units
	for who in "${everyone[@]}"; do containers "$who"; done
	write_all 200 1
	((failed == 0)) || exit 1
	cat /proc/sys/kernel/random/boot_id >$home/boot
	systemctl reboot
	sleep infinity
fi

if [[ ! -e $home/reset ]]; then
	returned "reboot"
	for who in "${everyone[@]}"; do
		berth=$(berth_of "$who")
		check "$who: it was stopped in order, and began anew" is 'bye hello hello ' $berth logs always
		check "$who: PostgreSQL was stopped in order" sh -c "$berth logs db 2>&1 | grep -q 'database system is shut down'"
		check "$who: plain starts" $berth start plain
	done
	((failed == 0)) || exit 1
	cat /proc/sys/kernel/random/boot_id >$home/boot
	touch $home/reset
	sync
	write_all 600 500001
	((failed == 0)) || exit 1
	echo b >/proc/sysrq-trigger
	sleep infinity
fi

returned "reset"
for who in "${everyone[@]}"; do
	berth=$(berth_of "$who")
	check "$who: PostgreSQL recovered" sh -c "$berth logs db 2>&1 | grep -q 'automatic recovery in progress'"
	check "$who: and goes on" is '1000001 ' $berth exec -u postgres db psql -Atqc 'insert into t values (1000001) returning n'
	check "$who: all goes" $berth rm -f always stopped plain db
	check "$who: the volume too" $berth volume rm data
done
systemctl --no-legend --plain list-units --state=failed | sed 's/^/failed unit: /'
exit "$failed"
