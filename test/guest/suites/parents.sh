#!/bin/bash
# parents: networks on a parent interface, on a kernel that has all they take: ipvlan, VLANs, dummies. The Go tests of network
# about them, none of which may be skipped here, and what a person types. Exits 1 if anything is not so.
set -u
failed=0
check() { # check WHAT COMMAND…
	local what=$1
	shift
	if "$@" >"$dir/said" 2>&1; then echo "ok    $what"; else echo "FAIL  $what: exit $?"; tail -n 5 "$dir/said"; failed=1; fi
}
says() { local word=$1; shift; "$@" 2>&1 | tee "$dir/line" | grep -Eq -- "$word" || { cat "$dir/line"; return 1; }; }

dir=$(mktemp -d)
export PATH=$PATH:/usr/sbin:/sbin
modprobe -a macvlan ipvlan 8021q dummy veth bridge overlay nf_tables || failed=1

tests=/payload/tests/network.test
[[ -x $tests ]] || tests=/payload/add/network.test
cd "$GUEST_TOP/network" 2>/dev/null || cd /payload/add || exit 125
# All of it in a sweep; else two tests and one kind, by BERTH_SEED: emulated, each takes long.
some() {
	if [[ -n ${BERTH_SWEEP:-} || -z ${BERTH_SEED:-} ]]; then printf '%s\n' "${@:2}"; else printf '%s\n' "${@:2}" | sort -R --random-source=<(yes "$BERTH_SEED" 2>/dev/null) | head -n "$1"; fi
}
mapfile -t tests_of < <(some 2 TestMacvlan TestMacvlanModes TestMacvlanPassthru TestParentAlter TestParentGone TestStandIn TestParentRefused TestParentSubnets TestDefaultParent TestIPvlan TestVLAN)
for test in "${tests_of[@]}"; do
	if "$tests" -test.v -test.timeout=2m -test.run "^$test\$" >"$dir/log" 2>&1 && grep -q "^--- PASS: $test" "$dir/log"; then
		echo "ok    $test"
	else
		echo "FAIL  $test"
		tail -n 60 "$dir/log"
		failed=1
	fi
done

if [[ -x $GUEST_TOP/bin/berth ]]; then
	berth() { BERTH_ROOT=$dir/root BERTH_RUN=/run/berth-parents BERTH_ETC=$dir "$GUEST_TOP/bin/berth" "$@"; }
	ip link add wire0 type veth peer name wire1
	ip link set wire0 up
	ip link set wire1 up
	mapfile -t ways < <(some 1 "macvlan 51 macvlan_mode=bridge" "ipvlan 52 ipvlan_mode=l2" "ipvlan 53 ipvlan_mode=l3")
	for way in "${ways[@]}"; do
		read -r driver id option <<<"$way"
		check "a network of $driver, $option, on a VLAN" berth network create -d "$driver" -o "parent=wire0.$id" -o "$option" --subnet "10.9.$id.0/24" --ipv6 --subnet "fd00:$id::/64" lan
		check "the VLAN is there" says "vlan protocol 802.1Q id $id" ip -d link show dev "wire0.$id"
		check "a container" berth run -d --name one --network lan berth/base sleep 1000
		check "reaches another" says "10.9.$id.2" berth run --rm -v "$(command -v busybox):/busybox:ro" --network lan berth/base /busybox ping -c 1 -W 10 "10.9.$id.2"
		check "by IPv6, too" says "1 packets received" berth run --rm -v "$(command -v busybox):/busybox:ro" --network lan berth/base /busybox ping -c 1 -W 10 "fd00:$id::2"
		berth rm -f one >/dev/null
		check "the network goes" berth network rm lan
		check "and its VLAN" says "does not exist" ip link show dev "wire0.$id"
	done
	check "all is clean" says "The store is whole." berth check
	ip link delete wire0
fi
exit "$failed"
