#!/bin/bash
# users: what an ordinary user has only where systemd gives a cgroup (limits), and with the kernel of a distribution (networks
# of the user's own, a way out, published ports). Exits 1 if anything is not so.
set -u
[[ -x $GUEST_TOP/bin/berth ]] || { echo "users: no berth in this payload"; exit 1; }
. "${BASH_SOURCE[0]%/*}/check.bash"
ends() { local want=$1; shift; "$@"; local got=$?; ((got == want)) || { echo "exit $got"; return 1; }; }
ask() { exec 9<>"/dev/tcp/$1/$2" && timeout 20 cat <&9; } # what a server says who speaks first

dir=$(mktemp -d)
chmod 755 "$dir"
mkdir -p "$dir/etc" "$dir/root"
chown -R berth: "$dir"
modprobe -a overlay tun veth bridge
chmod 666 /dev/net/tun # as udev's rules do
berth() { as-user env BERTH_ROOT="$dir/root" BERTH_ETC="$dir/etc" "$GUEST_TOP/bin/berth" "$@"; }
perl='use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1); bind(S, sockaddr_in(80, INADDR_ANY)) && listen(S, 9) or die;
	while (my $a = accept(C, S)) { my ($p, $i) = sockaddr_in($a); print C inet_ntoa($i), "\n"; close C }'
usr="-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro"

check "memory" is 67108864 berth run --rm --network none -m 64m berth/base cat /sys/fs/cgroup/memory.max
check "processes" is 20 berth run --rm --network none --pids-limit 20 berth/base cat /sys/fs/cgroup/pids.max
check "processors" is '50000 100000' berth run --rm --network none --cpus 0.5 berth/base cat /sys/fs/cgroup/cpu.max
check "who needs more memory is killed" ends 137 berth run --name big --network none -m 32m --memory-swap 32m berth/base sh -c 'head -c 200000000 /dev/zero | tail -n 1 >/dev/shm/x; exec tail -n 1 /dev/zero'
check "and inspect says why" is true berth inspect -f '{{.State.OOMKilled}}' big
check "update of one that runs" eval 'berth run -d --name one --network none -m 64m berth/base sleep 1000 && berth update -m 96m --memory-swap 96m one && is 100663296 berth exec one cat /sys/fs/cgroup/memory.max'
check "stats sees it" says '96 ?MiB' berth stats --no-stream one

check "with keep-id the user is who the user is, with a limit" is "$(id -u berth) 67108864" berth run --rm --network none --userns keep-id -m 64m berth/base sh -c 'echo $(id -u) $(cat /sys/fs/cgroup/memory.max)'
check "and files are root's" is 0:0 berth run --rm --network none --userns keep-id berth/base stat -c %u:%g /etc/passwd
check "auto has ids of its own" says '^ +0 +[1-9][0-9]* +1024$' berth run --rm --network none --userns auto berth/base cat /proc/self/uid_map

check "a network" berth network create lan
check "a server on it" berth run -d --name web --network lan -p 18080:80 $usr berth/base /usr/bin/perl -e "$perl"
check "is reached by name" says '^[0-9.]+$' berth run --rm --network lan $usr berth/base /usr/bin/perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new("web:80") or die; print <$s>'
check "and from the host, seen as the gateway" says "^172\.[0-9.]+\.1$" ask 127.0.0.1 18080
check "the host's own services are out of reach" eval '! berth run --rm --network lan $usr berth/base /usr/bin/perl -e "use IO::Socket::INET; IO::Socket::INET->new(PeerAddr => q(10.77.0.1:18080), Timeout => 5) or exit 1"'
check "limits of the user are told" says 'memory' berth info --security

berth rm -f web one big >/dev/null
check "the network goes" berth network rm lan
check "nothing is left" is '' berth ps -aq
rm -rf "$dir"
exit $failed
