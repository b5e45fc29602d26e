#!/bin/bash
# quota: --storage-opt size= and volumes of a size, on an ext4 of the suite's own with project quotas: what is written beyond
# the limit gives ENOSPC or EDQUOT inside, others are not affected, and rm frees space, limit and project. Without the mount
# option the line says what is missing. Exits 1 if anything is not so.
set -u
[[ -x $GUEST_TOP/bin/berth ]] || { echo "quota: no berth in this payload"; exit 1; }
. "${BASH_SOURCE[0]%/*}/check.bash"
full() { ! "$@" 2>&1 && "$@" 2>&1 | grep -Eq 'No space left|quota exceeded|out of space'; } # a command that fails for want of space

export PATH=$PATH:/usr/sbin:/sbin
dir=$(mktemp -d)
truncate -s 400M "$dir/disk"
mke2fs -q -t ext4 -O quota,project -E quotatype=prjquota "$dir/disk" || exit 125
mkdir "$dir/m" "$dir/etc"
modprobe -a loop overlay
mount -o loop,prjquota "$dir/disk" "$dir/m" || exit 125
berth() { BERTH_ROOT=$dir/m/root BERTH_RUN=/run/berth-quota BERTH_ETC=$dir/etc "$GUEST_TOP/bin/berth" "$@"; }
projects() { lsattr -pd "$dir"/m/root/snapshots/d/*/fs 2>/dev/null | awk '$1 > 0 { print $1 }' | sort; }

check "a container of 10 MB and one without a limit" eval 'berth run -d --name small --network none --storage-opt size=10M berth/base sleep 1000 &&
	berth run -d --name large --network none berth/base sleep 1000'
check "one more, of 20 MB" berth run -d --name middle --network none --storage-opt size=20M berth/base sleep 1000
check "inspect shows the size as it was typed" is 'map[size:10M]' berth inspect -f '{{.HostConfig.StorageOpt}}' small
check "each has a project of its own" is 2 eval 'projects | uniq | wc -l'
check "8 MB fit" berth exec small sh -c 'head -c 8000000 /dev/zero >/one'
check "8 MB more do not" full berth exec small sh -c 'head -c 8000000 /dev/zero >/two'
check "df inside shows the limit" says '^[^ ]+ +10240 ' berth exec small df -k /
check "nor does a file of the image that is changed" full berth exec small sh -c 'chmod 700 "$(readlink -f /bin/sh)"'
check "the one without a limit writes on" berth exec large sh -c 'head -c 30000000 /dev/zero >/one'
check "the other limit is its own" berth exec middle sh -c 'head -c 15000000 /dev/zero >/one'
check "and holds" full berth exec middle sh -c 'head -c 15000000 /dev/zero >/two'
check "what is removed inside can be written again" berth exec small sh -c 'rm -f /one /two; head -c 8000000 /dev/zero >/one'
berth rm -f small >/dev/null
check "rm frees the project" is 1 eval 'projects | uniq | wc -l'
check "and its limit" is "The store is whole." berth check
check "a small size" full berth run --rm --network none --storage-opt size=1M berth/base sh -c 'head -c 3000000 /dev/zero >/one'
check "again 10 MB" berth run -d --name small --network none --storage-opt size=10M berth/base sleep 1000
check "hold after a restart" eval 'berth restart -t 0 small && berth exec small sh -c "head -c 8000000 /dev/zero >/one"'
check "as before it" full berth exec small sh -c 'head -c 8000000 /dev/zero >/two'
check "a privileged one is held, too" full berth run --rm --privileged --network none --storage-opt size=5M berth/base sh -c 'head -c 8000000 /dev/zero >/one'

check "a volume of 5 MB" berth volume create -o size=5M data
check "holds" full berth run --rm --network none -v data:/d berth/base sh -c 'head -c 8000000 /dev/zero >/d/one'
check "and no more than that" berth run --rm --network none -v data:/d berth/base sh -c 'rm /d/one; head -c 4000000 /dev/zero >/d/one; head -c 8000000 /dev/zero >/two'
check "goes" berth volume rm data

printf '{"storage-opts": ["overlay2.size=5M"]}' >"$dir/daemon.json"
mkdir "$dir/etc/docker" && mv "$dir/daemon.json" "$dir/etc/docker/"
check "the administrator's size" full berth run --rm --network none berth/base sh -c 'head -c 8000000 /dev/zero >/one'
check "is not that of who asks for another" berth run --rm --network none --storage-opt size=0 berth/base sh -c 'head -c 8000000 /dev/zero >/one'
rm "$dir/etc/docker/daemon.json"

berth rm -f small middle large >/dev/null
check "all is clean" is "The store is whole." berth check
check "no project is left" is 0 eval 'projects | wc -l'

umount "$dir/m" && mount -o loop "$dir/disk" "$dir/m" || failed=1
check "without the mount option it is refused" says 'counts projects but limits none: mount it with prjquota' berth create --network none --storage-opt size=10M berth/base true
check "and a volume, too" says 'no quota support: .*mount it with prjquota' berth volume create -o size=5M data
check "nothing is made" is "" eval 'berth ps -aq; berth volume ls -q'
umount "$dir/m"
exit "$failed"
