#!/bin/bash
# beside: who reaches whom with ufw, firewalld and Debian's dockerd running beside berth, each as it is installed: what is published is
# open and what is not is closed, from a machine on the wire (a network namespace) and from containers, of IPv4 and IPv6, and
# dockerd's own containers are reached as without berth. What the cells shall be is decision 0016's. Exits 1 if anything is not so.
set -u
[[ -x $GUEST_TOP/bin/berth ]] || { echo "beside: no berth in this payload"; exit 1; }
export PATH=$PATH:/usr/sbin:/sbin
failed=0 dir=$(mktemp -d)
berth() { BERTH_ROOT=$dir/root BERTH_RUN=/run/berth-beside BERTH_ETC=$dir/etc "$GUEST_TOP/bin/berth" "$@"; }
must() { "$@" >"$dir/said" 2>&1 || { echo "FAIL  $*: exit $?"; tail -n 20 "$dir/said"; failed=1; }; }
mkdir "$dir/etc"
modprobe -a veth bridge overlay nf_tables

# in PLACE COMMAND…: out, host, or a container's name
in_place() {
	local place=$1
	shift
	case $place in
	out) ip netns exec out "$@" ;;
	host) "$@" ;;
	*) nsenter -t "${pid[$place]}" -n "$@" ;;
	esac
}
# cell STATE FROM ADDRESS PORT WHO; each in the background, wait_cells says what came out
cell() {
	{
		local got=closed said
		said=$(in_place "$2" timeout 8 busybox nc -w 5 "$3" "$4" </dev/null 2>/dev/null)
		[[ $said != "$5" ]] || got=open
		if [[ $got == "$1" ]]; then echo "ok    $phase: $2 → $3 $4 ($5) $got"; else echo "FAIL  $phase: $2 → $3 $4 ($5) is $got"; fi
	} >"$dir/cell.$((cells++))" &
	asked+=($!)
}
wait_cells() {
	wait "${asked[@]}"
	asked=() cells=0
	cat "$dir"/cell.*
	! grep -q ^FAIL "$dir"/cell.* || failed=1
	rm "$dir"/cell.*
}
# matrix SERVICE: all cells; the state of container → a service of the host is given
matrix() {
	local a
	for a in 192.0.2.2 2001:db8::2; do
		cell open out $a 8080 web
		cell closed out $a 8081 web
		cell open peer $a 8080 web
		cell "$1" peer $a 9000 host
	done
	cell open host 127.0.0.1 8080 web
	cell open host 127.0.0.1 8081 web
	for a in 172.30.1.10 fd00:30:1::10; do
		cell closed out $a 80 web
		cell open peer $a 80 web
		cell open host $a 80 web
		cell closed other $a 80 web
	done
	for a in 192.0.2.1 2001:db8::1; do
		cell open peer $a 9100 out
		cell closed closed $a 9100 out
	done
}

declare -A pid
asked=() cells=0 phase=
ip netns add out
ip link add wire type veth peer name wire netns out
ip address add 192.0.2.2/24 dev wire
ip address add 2001:db8::2/64 dev wire nodad
ip link set wire up
for line in "link set lo up" "address add 192.0.2.1/24 dev wire" "address add 2001:db8::1/64 dev wire nodad" "link set wire up" \
	"route add 172.16.0.0/12 via 192.0.2.2" "route add fd00::/8 via 2001:db8::2"; do
	ip -n out $line
done
busybox nc -ll -p 9000 -e /bin/echo host &
servers=$!
ip netns exec out busybox nc -ll -p 9100 -e /bin/echo out &
servers+=" $!"

must berth network create --ipv6 --subnet 172.30.1.0/24 --subnet fd00:30:1::/64 one
must berth network create --ipv6 --subnet 172.30.2.0/24 --subnet fd00:30:2::/64 two
must berth network create --internal --ipv6 --subnet 172.30.3.0/24 --subnet fd00:30:3::/64 inside
serve="-v /bin/busybox:/bb:ro berth/base /bb nc -ll -p 80 -e /bb echo"
must berth run -d --name web --network one --ip 172.30.1.10 --ip6 fd00:30:1::10 -p 8080:80 -p 127.0.0.1:8081:80 $serve web
must berth run -d --name peer --network one $serve peer
must berth run -d --name other --network two $serve other
must berth run -d --name closed --network inside $serve closed
for name in web peer other closed; do pid[$name]=$(berth inspect -f '{{.State.Pid}}' "$name"); done
verb() { must berth run --rm berth/base true; }

phase="nothing"
matrix open
wait_cells

phase=ufw
must ufw --force enable
verb
matrix closed
wait_cells
must ufw reload
verb
phase="ufw reload"
matrix closed
wait_cells
must ufw --force disable

phase=firewalld
must systemctl start firewalld
verb
matrix open
wait_cells
must systemctl stop firewalld

phase=dockerd
must systemctl start docker
mkdir -p "$dir/image/bin"
cp /bin/busybox "$dir/image/bin/"
tar -C "$dir/image" -c . | docker import - box >"$dir/said" 2>&1 || must false
must docker run -d --name theirs -p 8090:80 box /bin/busybox nc -ll -p 80 -e /bin/busybox echo theirs
pid[theirs]=$(docker inspect -f '{{.State.Pid}}' theirs)
verb
matrix open
theirs=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' theirs)
cell open out 192.0.2.2 8090 theirs
cell open theirs 192.0.2.1 9100 out
cell closed peer "$theirs" 80 theirs
cell closed theirs 172.30.1.10 80 web
cell open host "$theirs" 80 theirs
wait_cells
must docker rm -f theirs
must systemctl stop docker.socket docker containerd

must berth rm -f web peer other closed
kill $servers
ip netns delete out
exit "$failed"
