#!/bin/bash
# selinux: where SELinux is active, a container's processes and files have labels with a level of their own, as root and
# as the user; what --security-opt label=…, z and Z do; what the policy denies, and what must work. Exits 1 if anything is
# not so. Run as
#   test/guest/run --bare --packages test/guest/selinux.txt --line 'security=selinux selinux=1' --add bin/berth --add bin/berth-uplink test/guest/selinux.sh
set -u
. "${BASH_SOURCE[0]%/*}/check.bash"

dir=$(mktemp -d)
chmod 755 "$dir"
cp /payload/add/berth /payload/add/berth-uplink /usr/local/bin/
restorecon -R /usr/local/bin /etc/machine-id
modprobe -a overlay tun
chmod 666 /dev/net/tun
[[ $(getenforce) == Enforcing ]] || { echo "selinux: not enforcing"; exit 1; }
dmesg -C

label='runcon unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023'
as() { # as root|user: berth is that one's from here on
	home=$dir/$1
	mkdir -p "$home/etc" "$home/root" "$home/tree/below" "$home/plain"
	echo mine >"$home/tree/below/file"
	echo mine >"$home/plain/file"
	chmod 666 "$home"/*/file "$home/tree/below/file"
	if [[ $1 == user ]]; then
		chown -R berth: "$home"
		install -d -o berth -g berth -m 700 /run/user/1000
		# Without a systemd of his own, which Debian's policy does not let talk to its bus.
		berth() {
			setpriv --reuid berth --regid berth --init-groups env -i PATH="$PATH" HOME=/home/berth USER=berth XDG_RUNTIME_DIR=/run/user/1000 BERTH_ROOT="$home/root" \
				BERTH_ETC="$home/etc" $label /usr/local/bin/berth "$@"
		}
	else
		berth() { BERTH_ROOT=$home/root BERTH_RUN=/run/berth-selinux BERTH_ETC=$home/etc $label /usr/local/bin/berth "$@"; }
	fi
}
run() { (eval "$1"); } # a line of a shell
once() { berth run --rm --network none "$@"; }
info() { berth info --security --format '{{range .Host}}{{if eq .Key "selinux"}}{{.State}} {{.Why}}{{end}}{{end}}'; }
lsm() { berth info --security --format '{{range .Container.Rows}}{{if eq .Key "lsm"}}{{.State}} {{.Why}}{{end}}{{end}}' "$1"; }
label_of() { berth exec "$1" cat /proc/self/attr/current | tr -d '\0\n '; }
type_of() { stat -c %C "$1" | cut -d: -f3-; }
level='s0:c[0-9]+,c[0-9]+'

mkdir -p "$dir/busybox/bin" "$dir/busybox/tmp"
cp /bin/busybox "$dir/busybox/bin/"
ln -s busybox "$dir/busybox/bin/sh"

for who in root user; do
	as $who
	check "$who: an image" run "tar -C $dir/busybox -c . | berth import - bb"
	check "$who: info" says '^yes .*label of its own' info
	check "$who: docker's, too" says 'name=selinux' berth info --format '{{.SecurityOptions}}'
	check "$who: a container's label" says "^system_u:system_r:container_t:$level" once berth/base cat /proc/self/attr/current
	check "$who: what it is" berth run -d --name one --network none --init --ipc shareable -v kept:/data --health-cmd 'cat /proc/self/attr/current >/new && mv /new /seen' --health-interval 1s \
		berth/base sh -c 'echo said; sleep 1000'
	own=$(berth inspect -f '{{.ProcessLabel}}' one)
	check "$who: inspect" says "^system_u:system_r:container_t:$level$" echo "$own"
	check "$who: and of its files" is "system_u:object_r:container_file_t:${own#*:*:*:}" berth inspect -f '{{.MountLabel}}' one
	check "$who: exec is in it" is "$own" label_of one
	check "$who: with privileges, too" is "$own" run "berth exec --privileged one cat /proc/self/attr/current | tr -d '\\0\\n '"
	check "$who: info of it" says "^yes $own" lsm one
	check "$who: streams" is said berth logs one
	check "$who: of an exec" is heard run "echo heard | berth exec -i one cat"
	check "$who: a terminal" says '/dev/pts/0' berth exec -t one tty
	check "$who: another starts with other categories" run "[ '$own' != \"\$(once berth/base cat /proc/self/attr/current | tr -d '\\0\\n ')\" ]"
	check "$who: one that shares its memory has its label" says "^$own" once --ipc container:one berth/base cat /proc/self/attr/current
	check "$who: its own files" berth exec one sh -c 'echo x >/x; echo x >/tmp/x; echo x >/dev/shm/x; cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null; echo >/dev/null'
	check "$who: programs that it makes" is ran once bb /bin/busybox sh -c '/bin/busybox cp /bin/busybox /tmp/busybox && /tmp/busybox echo ran'
	check "$who: a volume" is hers berth exec one sh -c 'echo hers >/data/f; cat /data/f'
	check "$who: that another container reads, too" is kept once -v kept:/data berth/base sh -c 'echo kept >/data/g; cat /data/g'
	for _ in {1..50}; do [[ $(berth inspect -f '{{.State.Health.Status}}' one) == healthy ]] && break; sleep 0.2; done
	check "$who: its healthcheck" says "^$own" berth exec one cat /seen
	check "$who: cp into it and out" run "berth cp $home/plain/file one:/tmp/cp && berth cp one:/tmp/cp $home/root/cp"
	check "$who: what was copied is its own" berth exec one sh -c 'echo x >>/tmp/cp'
	check "$who: cp into one that does not run" run "berth create --name new --network none bb /tmp/copied sh -c 'exec /tmp/copied echo ran' && berth cp $dir/busybox/bin/busybox new:/tmp/copied"
	check "$who: and execute it" says 'applet not found' berth start -a new
	check "$who: its label on disk" is container_file_t sh -c "stat -c %C \$(find $home/root -name copied) | cut -d: -f3"
	check "$who: stop and start" run "berth stop -t 0 one && berth start one"
	check "$who: the label stays" is "$own" label_of one
	check "$who: pause and kill" run "berth pause one && berth unpause one && berth kill one && [ \$(berth wait one) = 137 ]"
	berth start one >/dev/null

	bind=$home/plain
	check "$who: a folder of the host is not its own" says 'ermission denied' once -v "$bind:/mnt" berth/base cat /mnt/file
	check "$who: nor to write" says 'ermission denied' once -v "$bind:/mnt" berth/base sh -c 'echo >>/mnt/file'
	check "$who: without a label it is" is mine once --security-opt label=disable -v "$bind:/mnt" berth/base cat /mnt/file
	tree=$home/tree
	check "$who: with z it is" is mine once -v "$tree:/mnt:z" berth/base cat /mnt/below/file
	check "$who: with all below it" is container_file_t:s0 type_of "$tree/below/file"
	check "$who: and others read it" is mine once -v "$tree:/mnt" berth/base cat /mnt/below/file
	check "$who: with Z it is one's" berth run -d --name two --network none -v "$tree:/mnt:Z" berth/base sleep 1000
	check "$who: with its categories" is "container_file_t:$(berth inspect -f '{{.MountLabel}}' two | cut -d: -f4-)" type_of "$tree/below/file"
	check "$who: who writes it" berth exec two sh -c 'echo two >>/mnt/below/file'
	check "$who: and nobody else reads it" says 'ermission denied' once -v "$tree:/mnt" berth/base cat /mnt/below/file
	check "$who: but at that level" says mine once --security-opt "label=level:$(berth inspect -f '{{.MountLabel}}' two | cut -d: -f4-)" -v "$tree:/mnt" berth/base cat /mnt/below/file
	check "$who: the system's own is refused" says 'SELinux relabeling of /etc is not allowed' once -v /etc:/mnt:Z berth/base true
	berth rm -f two >/dev/null

	check "$who: another type" says '^system_u:system_r:spc_t:s0' once --security-opt label=type:spc_t berth/base cat /proc/self/attr/current
	check "$who: a level" says '^system_u:system_r:container_t:s0:c7,c8' once --security-opt label=level:s0:c7,c8 berth/base cat /proc/self/attr/current
	check "$who: one that nobody knows" says 'policy of this machine does not know system_u:system_r:nothere_t' once --security-opt label=type:nothere_t berth/base true
	check "$who: a wrong word" says "bad label option \"colour:red\"" once --security-opt label=colour:red berth/base true
	check "$who: privileges leave it out" says 'unconfined_t|initrc_t' once --privileged berth/base cat /proc/self/attr/current
	check "$who: and the host's processes" says 'unconfined_t|initrc_t' once --pid host berth/base cat /proc/self/attr/current
	berth run -d --name two --network none --privileged berth/base sleep 1000 >/dev/null
	check "$who: info says why" says '^no .*it is privileged' lsm two
	check "$who: inspect has none" is '' berth inspect -f '{{.ProcessLabel}}' two
	check "$who: read-only" is ok once --read-only --tmpfs /run berth/base sh -c 'echo x >/run/x && echo ok'
	check "$who: an image in it" says etc once --mount type=image,source=berth/base,target=/mnt berth/base ls /mnt
	check "$who: a secret" is word run "echo -n word | berth secret create --replace s - >/dev/null; once --secret s berth/base cat /run/secrets/s"
	check "$who: a mount while it runs" berth update --mount-add "type=bind,source=$tree,target=/later,relabel=shared" one
	check "$who: is read" says mine berth exec one cat /later/below/file
	check "$who: a tmpfs while it runs" berth update --mount-add type=tmpfs,target=/scratch one
	check "$who: is written" berth exec one sh -c 'echo x >/scratch/x'
	check "$who: a network and a port" berth run -d --name net -p 127.0.0.1:8099:80 bb /bin/busybox nc -ll -p 80 -e /bin/busybox echo hello
	check "$who: a name" says "$(berth inspect -f '{{.Config.Hostname}}' net)" berth exec net /bin/busybox cat /etc/hosts
	check "$who: answers" says hello sh -c 'for i in 1 2 3 4 5; do timeout 5 busybox nc 127.0.0.1 8099 && exit; sleep 1; done'
	check "$who: commit, save and load" run "berth commit one made >/dev/null && berth save made | berth load >/dev/null"
	check "$who: what was committed runs" says x once made cat /x
	check "$who: export has no labels" run "! berth export one | grep -aq security.selinux"
	check "$who: the store is whole" says 'whole' berth check
	check "$who: levels are held" says '^[0-9]+-1$' ls "$home/root/levels"
	berth rm -f $(berth ps -aq) >/dev/null
	check "$who: and given back" is lock ls "$home/root/levels"
	berth volume rm kept >/dev/null
done

# root: with the host's ids, where the label is all that is left.
as root
mkdir /srv/secret; echo secret >/srv/secret/file; chmod -R 777 /srv/secret
bare=(--userns host --cap-add ALL --security-opt seccomp=unconfined --security-opt systempaths=unconfined)
check "root: a file of the host" says 'ermission denied' once "${bare[@]}" -v /srv:/mnt berth/base cat /mnt/secret/file
check "root: that it reads without a label" is secret once "${bare[@]}" --security-opt label=disable -v /srv:/mnt berth/base cat /mnt/secret/file
echo '{"selinux-enabled": false}' >"$home/etc/docker.json"
mkdir -p "$home/etc/docker" && mv "$home/etc/docker.json" "$home/etc/docker/daemon.json"
check "root: daemon.json switches it off" says 'unconfined_t' once berth/base cat /proc/self/attr/current
check "root: and info says so" says '^partly .*daemon.json' info
rm "$home/etc/docker/daemon.json"
mv /etc/selinux/default/contexts/lxc_contexts /etc/selinux/default/contexts/away
check "root: a policy without containers" says 'unconfined_t' once berth/base cat /proc/self/attr/current
check "root: info names what to install" says '^partly .*container-selinux' info
mv /etc/selinux/default/contexts/away /etc/selinux/default/contexts/lxc_contexts
setenforce 0
check "root: permissive" says '^partly permissive' info
check "root: has labels" says container_t once berth/base cat /proc/self/attr/current
setenforce 1
if ((failed)); then dmesg | grep -a 'avc:  denied' | grep -av vport | sed 's/.*denied//' | tail -40; fi
rm -rf "$dir"
exit $failed
