#!/bin/bash
# labels: a container of berth's is in the AppArmor profile berth-default, which root's berth loads, or in the one that
# --security-opt apparmor=PROFILE names, what is started in it too, as root and as the user; one that is not loaded is
# refused in a line. What the default denies, and what must work in it. Exits 1 if anything is not so.
set -u
[[ -x $GUEST_TOP/bin/berth ]] || { echo "labels: no berth in this payload"; exit 1; }
. "${BASH_SOURCE[0]%/*}/check.bash"

dir=$(mktemp -d)
chmod 755 "$dir"
modprobe -a overlay
profile='berth-guest-test (enforce)'
default='berth-default (enforce)'
profiles() { ls /sys/kernel/security/apparmor/policy/profiles; }
apparmor() { berth info --security --format '{{range .Host}}{{if eq .Key "apparmor"}}{{.State}} {{.Why}}{{end}}{{end}}'; }
lsm() { berth info --security --format '{{range .Container.Rows}}{{if eq .Key "lsm"}}{{.State}} {{.Why}}{{end}}{{end}}' "$1"; }
as() { # as root|user: berth is that one's from here on
	home=$dir/$1
	mkdir -p "$home/etc" "$home/root"
	if [[ $1 == user ]]; then
		chown -R berth: "$home"
		berth() { as-user env BERTH_ROOT="$home/root" BERTH_ETC="$home/etc" "$GUEST_TOP/bin/berth" "$@"; }
	else
		berth() { BERTH_ROOT=$home/root BERTH_RUN=/run/berth-labels BERTH_ETC=$home/etc "$GUEST_TOP/bin/berth" "$@"; }
	fi
}
once() { berth run --rm --network none "$@"; }

# tries PATH…: a container's script that says which of them it wrote to, or mounted on.
tries() {
	echo "mkdir /m; for p in $*; do (echo 1 >\$p) 2>/dev/null && echo wrote \$p; done; mount -t tmpfs none /m 2>/dev/null && echo mounted; head -c 1 /proc/kcore >/dev/null 2>&1 && echo read; echo done"
}
# attempts does what the default denies, with all that berth lets a container have but its privileges.
attempts() {
	local bare=(--cap-add ALL --security-opt seccomp=unconfined --security-opt systempaths=unconfined "$@")
	check "$who: no parameter of the kernel is written, nothing mounted" is done once "${bare[@]}" berth/base sh -c "$(tries /proc/sys/kernel/{core_pattern,modprobe,printk,hostname} \
		/proc/sys/vm/drop_caches /proc/sys/fs/file-max /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/irq/default_smp_affinity)"
	check "$who: but what is its own" says 'wrote /proc/sys/fs/mqueue/msg_max' once "${bare[@]}" berth/base sh -c "$(tries /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max)"
}

# Nobody has loaded it: a user's containers have none, and are told why.
who=user
as user
check "user: not loaded: a container runs" is unconfined once berth/base cat /proc/1/attr/current
check "user: and info says why" says '^partly .*berth-default is not loaded: the next container that root' apparmor
berth run -d --name early --network none berth/base sleep 1000 >/dev/null
check "user: of it, too" says '^no none: berth-default was not loaded when it started' lsm early
check "user: and inspect" is unconfined berth inspect -f '{{.AppArmorProfile}}' early
berth rm -f early >/dev/null
as root
mv /sbin/apparmor_parser /sbin/apparmor_parser.away
check "root: without apparmor_parser a container runs" is unconfined once berth/base cat /proc/1/attr/current
check "root: and info says what to install" says '^partly .*install the package apparmor' apparmor
printf '#!/bin/sh\necho tried >>%s/tried; echo no such luck >&2; exit 1\n' "$dir" >/sbin/apparmor_parser
chmod 755 /sbin/apparmor_parser
check "root: one that fails is told of" says 'no such luck' once berth/base true
check "root: once" is unconfined once berth/base cat /proc/1/attr/current
check "root: it was not tried again" is 1 sh -c "wc -l <$dir/tried"
check "root: and info says so" says '^partly .*no such luck, and is not tried again' apparmor
mv /sbin/apparmor_parser.away /sbin/apparmor_parser
rm -f /run/berth-labels/apparmor
check "root: info says that the next start loads it" says '^yes .*next start' apparmor
check "root: inspect has none before a start" is '' sh -c "$(declare -f berth); home=$home; berth create --name new --network none berth/base true >/dev/null; berth inspect -f '{{.AppArmorProfile}}' new; berth rm new >/dev/null"
check "root: the first start loads it" is "$default" once berth/base cat /proc/1/attr/current
check "root: it is in the kernel" says '^berth-default\.' profiles
check "root: info" says '^yes ' apparmor
check "root: docker's, too" says 'name=apparmor' berth info --format '{{.SecurityOptions}}'
# What aa-remove-unknown does.
echo -n berth-default >/sys/kernel/security/apparmor/.remove
check "root: one that was removed comes back" is "$default" once berth/base cat /proc/1/attr/current

for who in root user; do
	as $who
	check "$who: the default" berth run -d --name one --network none --health-cmd 'cat /proc/self/attr/current >/new && mv /new /seen' --health-interval 1s berth/base sleep 1000
	check "$who: is in it" is "$default" berth exec one cat /proc/1/attr/current
	check "$who: and what is started in it" is "$default" berth exec one cat /proc/self/attr/current
	check "$who: with privileges, too" is "$default" berth exec --privileged one cat /proc/self/attr/current
	check "$who: as another user" is "$default" berth exec -u 1000 one cat /proc/self/attr/current
	check "$who: inspect" is berth-default berth inspect -f '{{.AppArmorProfile}}' one
	check "$who: info of it" says '^yes berth-default \(enforce\)' lsm one
	for _ in {1..50}; do [[ $(berth inspect -f '{{.State.Health.Status}}' one) == healthy ]] && break; sleep 0.2; done
	check "$who: its healthcheck" is "$default" berth exec one cat /seen
	check "$who: signals within" berth exec one kill -0 1
	check "$who: top" says sleep berth top one
	check "$who: cp out of it" berth cp one:/seen "$home/root/seen"
	check "$who: pause and unpause" sh -c "$(declare -f berth); home=$home; berth pause one && berth unpause one"
	check "$who: kill" berth kill one
	check "$who: it ends of it" is 137 berth wait one
	check "$who: it starts again" berth start one
	check "$who: in the profile" is "$default" berth exec one cat /proc/1/attr/current
	check "$who: stop" berth stop -t 1 one
	check "$who: it has ended" is exited berth inspect -f '{{.State.Status}}' one
	berth rm -f one >/dev/null
	check "$who: an init in it" is "$default" once --init berth/base cat /proc/1/attr/current
	berth run -d --name again --network none --restart on-failure:2 berth/base sh -c 'grep -q berth-default /proc/1/attr/current && exit 7' >/dev/null
	for _ in {1..50}; do [[ $(berth inspect -f '{{.RestartCount}}' again) == 2 ]] && break; sleep 0.2; done
	check "$who: a restart policy" is 2 berth inspect -f '{{.RestartCount}}' again
	berth rm -f again >/dev/null
	check "$who: without, by word" is unconfined once --security-opt apparmor=unconfined berth/base cat /proc/1/attr/current
	check "$who: --privileged has none" is unconfined once --privileged berth/base cat /proc/1/attr/current
	check "$who: nor --nested" is unconfined once --nested berth/base cat /proc/1/attr/current
	check "$who: --privileged mounts" says mounted once --privileged berth/base sh -c "$(tries /dev/null)"
	berth run -d --name given --network none --privileged berth/base sleep 1000 >/dev/null
	check "$who: inspect of one that is privileged" is unconfined berth inspect -f '{{.AppArmorProfile}}' given
	check "$who: info says why" says '^no none, as it is privileged' lsm given
	berth rm -f given >/dev/null
	attempts
	sleep 1000 &
	other=$!
	check "$who: no process beyond it is signalled" says 'ermission denied|not permitted' once --pid host --cap-add ALL berth/base kill -TERM $other
	check "$who: it lives on" kill -0 $other
	kill $other

	check "$who: a container without the other profile writes" once berth/base sh -c 'mkdir /d; echo >/d/apparmor-denied'
	check "$who: one with it" berth run -d --name one --network none --security-opt apparmor=berth-guest-test berth/base sleep 1000
	check "$who: is in it" is "$profile" berth exec one cat /proc/1/attr/current
	check "$who: and what is started in it" is "$profile" berth exec one cat /proc/self/attr/current
	check "$who: which denies" says 'ermission denied' berth exec one sh -c 'mkdir /d; echo >/d/apparmor-denied'
	check "$who: and no more than that" berth exec one sh -c 'echo >/another'
	check "$who: info shows it" says 'berth-guest-test' berth info --security one
	check "$who: inspect, too" is berth-guest-test berth inspect -f '{{.AppArmorProfile}}' one
	check "$who: one that is not loaded is named" says 'no-such-profile' once --security-opt apparmor=no-such-profile berth/base true
	berth rm -f one >/dev/null
	check "$who: nothing is left" is '' berth ps -aq
done

# root: with the host's ids, where the profile is all that is left.
who=root
as root
attempts --userns host
check "root: without the profile they are" says 'wrote /proc/sys/vm/drop_caches' once --userns host --cap-add ALL --security-opt seccomp=unconfined \
	--security-opt systempaths=unconfined --security-opt apparmor=unconfined berth/base sh -c "$(tries /proc/sys/vm/drop_caches)"
check "root: and it mounts" says mounted once --userns host --cap-add ALL --security-opt seccomp=unconfined --security-opt apparmor=unconfined berth/base sh -c "$(tries /dev/null)"
# The administrator's own text, and his no.
sed 's|^}|\tdeny /**/apparmor-denied w,\n}|' "$GUEST_TOP/engine/apparmor/berth-default" >/etc/apparmor.d/berth-default
echo -n berth-default >/sys/kernel/security/apparmor/.remove
check "root: the administrator's file is what is loaded" says 'ermission denied' once berth/base sh -c 'mkdir /d; echo >/d/apparmor-denied'
berth run -d --name one --network none berth/base sleep 1000 >/dev/null
mkdir -p /etc/apparmor.d/disable
ln -s /etc/apparmor.d/berth-default /etc/apparmor.d/disable/
echo -n berth-default >/sys/kernel/security/apparmor/.remove
check "root: one that he disabled is not loaded" is unconfined once berth/base cat /proc/1/attr/current
check "root: and named" says '^partly .*/etc/apparmor.d/disable/berth-default' apparmor
check "root: an exec in what had it says so" says "profile is gone: .*disable" berth exec one true
berth rm -f one >/dev/null
as user
check "user: it is named to the user" says '^partly .*/etc/apparmor.d/disable/berth-default' apparmor
rm -rf "$dir"
exit $failed
