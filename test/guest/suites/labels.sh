#!/bin/bash
# labels: a container of berth's is in the AppArmor profile that --security-opt apparmor=PROFILE names, what is started in it
# too, as root and as the user; one that is not loaded is refused in a line. Exits 1 if anything is not so.
set -u
[[ -x $GUEST_TOP/bin/berth ]] || { echo "labels: no berth in this payload"; exit 1; }
. "${BASH_SOURCE[0]%/*}/check.bash"

dir=$(mktemp -d)
chmod 755 "$dir"
modprobe -a overlay
profile='berth-guest-test (enforce)'
for who in root user; do
	home=$dir/$who
	mkdir -p "$home/etc" "$home/root"
	if [[ $who == user ]]; then
		chown -R berth: "$home"
		berth() { as-user env BERTH_ROOT="$home/root" BERTH_ETC="$home/etc" "$GUEST_TOP/bin/berth" "$@"; }
	else
		berth() { BERTH_ROOT=$home/root BERTH_RUN=/run/berth-labels BERTH_ETC=$home/etc "$GUEST_TOP/bin/berth" "$@"; }
	fi
	check "$who: a container without a profile writes" berth run --rm --network none berth/base sh -c 'mkdir /d; echo >/d/apparmor-denied'
	check "$who: one with a profile" berth run -d --name one --network none --security-opt apparmor=berth-guest-test berth/base sleep 1000
	check "$who: is in it" is "$profile" berth exec one cat /proc/1/attr/current
	check "$who: and what is started in it" is "$profile" berth exec one cat /proc/self/attr/current
	check "$who: which denies" says 'ermission denied' berth exec one sh -c 'mkdir /d; echo >/d/apparmor-denied'
	check "$who: and no more than that" berth exec one sh -c 'echo >/another'
	check "$who: info shows it" says 'berth-guest-test' berth info --security one
	check "$who: inspect, too" is berth-guest-test berth inspect -f '{{.AppArmorProfile}}' one
	check "$who: one that is not loaded is named" says 'no-such-profile' berth run --rm --network none --security-opt apparmor=no-such-profile berth/base true
	berth rm -f one >/dev/null
	check "$who: nothing is left" is '' berth ps -aq
done
rm -rf "$dir"
exit $failed
