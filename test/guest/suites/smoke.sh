#!/bin/bash
# smoke: the guest is what the other suites take it for. Prints what it is, line by line; exits 1 if anything is not so.
set -u
failed=0
check() { # check WHAT COMMAND…
	local what=$1
	shift
	if "$@" >/dev/null 2>&1; then echo "ok    $what"; else echo "FAIL  $what"; failed=1; fi
}
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

release=$(uname -r)
layout=$(stat -f -c %T /sys/fs/cgroup)
echo "kernel $release; $(. /etc/os-release; echo "$PRETTY_NAME"); $(systemctl --version | head -n 1)"
echo "lsm $(cat /sys/kernel/security/lsm); $(nproc) cpus; $(awk '/MemTotal/ { print $2 }' /proc/meminfo) KiB"
check "kernel is 6.1 or newer" at_least 6.1 "$release"
check "AppArmor is on" grep -qx Y /sys/module/apparmor/parameters/enabled
check "AppArmor has profiles" grep -q . /sys/kernel/security/apparmor/profiles
check "Yama is there" test -e /proc/sys/kernel/yama/ptrace_scope
check "Landlock is there" grep -q landlock /sys/kernel/security/lsm
check "init is systemd" grep -qx systemd /proc/1/comm
check "system bus answers" busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer Ping
check "user's bus answers" as-user busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer Ping
check "user's processes are the user's" as-user sh -c '[ "$(id -un):$(id -u)" = berth:1000 ] && [ "$XDG_RUNTIME_DIR" = /run/user/1000 ]'
check "user's exit status passes through" sh -c 'as-user sh -c "exit 7"; [ $? = 7 ]'
check "user makes a user namespace" as-user unshare --user --map-root-user true
check "user maps his subordinate ids" as-user unshare --user --map-auto --map-root-user sh -c 'grep -q "1 *100000 *6553" /proc/self/uid_map'
for module in overlay veth bridge nf_tables erofs fuse; do
	check "kernel module $module" modprobe "$module"
done

if [[ $layout == cgroup2fs ]]; then
	echo "cgroup v2: $(cat /sys/fs/cgroup/cgroup.controllers)"
	own=$(as-user sh -c 'cut -d: -f3 /proc/self/cgroup')
	delegated=$(as-user sh -c 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"')
	echo "user's cgroup $own; delegated to the user: $delegated"
	for controller in memory pids; do
		check "user has the $controller controller" grep -qw "$controller" <<<"$delegated"
	done
	check "user makes a cgroup" as-user sh -c 'mkdir "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/smoke"'
else
	echo "cgroup v1: $(awk '$3 == "cgroup" || $3 == "cgroup2" { sub(".*/", "", $2); printf "%s ", $2 }' /proc/mounts)"
	check "no cgroup v2 mount" sh -c '! grep -q " cgroup2 " /proc/mounts'
	for controller in cpu memory devices freezer pids; do
		check "v1 controller $controller is mounted" mountpoint "/sys/fs/cgroup/$controller"
	done
fi
if [[ -n $(command -v berth-oci) ]]; then
	check "berth-oci starts" berth-oci --version
	check "berth-oci starts as the user" as-user berth-oci --version
fi
systemctl --no-legend --plain list-units --state=failed | sed 's/^/failed unit: /'
exit "$failed"
