package rootfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestBinds(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		src := r.host(t, "src")
		must(t, os.Mkdir(filepath.Join(src, "sub"), 0o777))
		hostMount(t, "tmpfs", filepath.Join(src, "sub"), "tmpfs", unix.MS_NOEXEC, "mode=777")
		file := filepath.Join(src, "file")
		must(t, os.WriteFile(file, []byte("text\n"), 0o644))
		r.mount("/ro", "bind", src, "rbind", "ro")
		r.mount("/rro", "", src, "rbind", "rro", "nosuid")
		r.mount("/rw", "none", src, "rbind", "rnodev", "rsuid")
		r.mount("/a/b/file", "bind", file, "bind", "nosymfollow", "relatime")
		r.mount("/type", "bind", file)
		r.mount("relative", "bind", src, "rbind", "private")
		m := r.defaults().run(t, mountinfo).mounts(t)
		for dest, want := range map[string]string{
			"/ro": "ro,relatime", "/ro/sub": "rw,noexec,relatime",
			"/rro": "ro,nosuid,relatime", "/rro/sub": "ro,noexec,relatime",
			"/rw": "rw,nodev,relatime", "/rw/sub": "rw,nodev,noexec,relatime",
			"/a/b/file": "rw,relatime,nosymfollow", "/type": "rw,relatime", "/relative": "rw,relatime",
		} {
			if got := m[dest].options; got != want {
				t.Errorf("%s is %q, want %q", dest, got, want)
			}
		}
		r.run(t, "cat /a/b/file; [ -d /rro ] && [ -f /type ] && echo kinds").want(t, "text", "kinds")
	})
}

func TestBindWithoutBelow(t *testing.T) {
	r := newRig(t)
	src := r.host(t, "src")
	must(t, os.Mkdir(filepath.Join(src, "sub"), 0o777))
	hostMount(t, "tmpfs", filepath.Join(src, "sub"), "tmpfs", 0, "")
	r.mount("/dst", "bind", src, "bind")
	m := r.defaults().run(t, mountinfo).mounts(t)
	if _, ok := m["/dst/sub"]; ok {
		t.Error("bind took the mount below, too")
	}
}

// Words that undo what the host's mount has.
func TestBindClears(t *testing.T) {
	r := newRig(t)
	src := r.host(t, "src")
	hostMount(t, "tmpfs", src, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY|unix.MS_NOATIME, "")
	r.mount("/kept", "bind", src, "bind")
	r.mount("/cleared", "bind", src, "bind", "rw", "suid", "dev", "exec", "strictatime")
	m := r.defaults().run(t, mountinfo).mounts(t)
	if got := m["/kept"].options; got != "ro,nosuid,nodev,noexec,noatime" {
		t.Errorf("/kept is %q", got)
	}
	if got := m["/cleared"].options; got != "rw" {
		t.Errorf("/cleared is %q", got)
	}
}

func TestBindPropagation(t *testing.T) {
	const peer, slave, none = "shared:", "master:", "-"
	for _, tt := range []struct{ root, words, want string }{
		{"", "", slave}, {"", "rprivate", none}, {"", "private", none}, {"", "rslave", slave}, {"", "shared", "shared: master:"},
		{"rshared", "rshared", peer}, {"shared", "rslave", slave}, {"rshared", "", peer}, {"private", "", none}, {"rslave", "slave", slave},
		{"", "unbindable", "unbindable"},
	} {
		t.Run(tt.root+"+"+tt.words, func(t *testing.T) {
			r := newRig(t)
			src := r.host(t, "src")
			hostMount(t, "tmpfs", src, "tmpfs", 0, "")
			must(t, unix.Mount("", src, "", unix.MS_SHARED, ""))
			r.spec.Linux.RootfsPropagation = tt.root
			r.mount("/dst", "bind", src, append([]string{"rbind"}, strings.Fields(tt.words)...)...)
			tags := r.defaults().run(t, mountinfo).mounts(t)["/dst"].tags
			for _, part := range strings.Fields(strings.Replace(tt.want, none, "", 1)) {
				if !strings.Contains(tags, part) {
					t.Errorf("tags %q, want %s", tags, tt.want)
				}
			}
			if tt.want == none && tags != "" || tt.want == peer && strings.Contains(tags, slave) || tt.want == slave && strings.Contains(tags, peer) {
				t.Errorf("tags %q, want %s", tags, tt.want)
			}
		})
	}
}

// A volume shared both ways: what the container mounts on it the host sees.
func TestSharedVolume(t *testing.T) {
	r := newRig(t)
	src := r.host(t, "src")
	hostMount(t, "tmpfs", src, "tmpfs", 0, "")
	must(t, os.Mkdir(filepath.Join(src, "sub"), 0o755))
	must(t, unix.Mount("", src, "", unix.MS_SHARED, ""))
	r.spec.Linux.RootfsPropagation = "rshared"
	r.mount("/dst", "bind", src, "rbind", "rshared")
	r.defaults().run(t, "mount -t tmpfs made /dst/sub").want(t)
	if !strings.Contains(hostMounts(t), filepath.Join(src, "sub")+" ") {
		t.Error("the host does not see the container's mount")
	}
}

func TestTmpfs(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		must(t, unix.Chmod(filepath.Join(r.root, "etc"), 0o2751))
		r.mount("/etc", "tmpfs", "tmpfs")
		r.mount("/new", "tmpfs", "tmpfs", "size=64k", "nodev")
		r.mount("/mode", "tmpfs", "tmpfs", "mode=700", "ro", "noatime")
		r.defaults().run(t, "stat -c '%a %u %n' /etc /new /mode; df --output=size /new | tail -1; touch /mode/x 2>&1").
			refusedBy(t, "2751 0 /etc", "1777 0 /new", "700 0 /mode", "touch: cannot touch '/mode/x': Read-only file system")
	})
}

// refusedBy is want for a script whose last command fails.
func (o *outcome) refusedBy(t *testing.T, lines ...string) {
	t.Helper()
	if o.err != "" || o.exit.ExitStatus() == 0 {
		t.Fatalf("error %q, exit %#x\n%s", o.err, o.exit, o.out)
	}
	o.exit = 0
	o.want(t, lines...)
}

func TestCopyUp(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		canary := r.host(t, "canary")
		must(t, os.WriteFile(filepath.Join(canary, "secret"), []byte("secret\n"), 0o644))
		etc := filepath.Join(r.root, "etc")
		must(t, os.MkdirAll(filepath.Join(etc, "sub/deep"), 0o750))
		must(t, os.WriteFile(filepath.Join(etc, "sub/file"), []byte("content\n"), 0o600))
		must(t, unix.Chmod(filepath.Join(etc, "sub/file"), 0o4711))
		must(t, os.Symlink(filepath.Join(canary, "secret"), filepath.Join(etc, "link")))
		must(t, os.Symlink(canary, filepath.Join(etc, "dirlink")))
		must(t, unix.Mkfifo(filepath.Join(etc, "fifo"), 0o640))
		owner := 7
		if len(r.spec.Linux.UIDMappings) > 0 {
			owner += hostID
		}
		must(t, filepath.Walk(etc, func(path string, _ os.FileInfo, err error) error { return os.Lchown(path, owner, owner) }))
		must(t, unix.Chmod(filepath.Join(etc, "sub/file"), 0o4711))
		must(t, unix.Setxattr(filepath.Join(etc, "sub/file"), "user.word", []byte("value"), 0))
		must(t, unix.Utimes(filepath.Join(etc, "sub/file"), []unix.Timeval{{Sec: 1e9}, {Sec: 1e9}}))
		must(t, os.Chmod(etc, 0o711))
		r.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup", "ro")
		o := r.defaults().run(t, `cd /etc; stat -c '%n %F %a %u %Y' sub/file | cut -c-60; stat -c '%n %F %a %u' . sub sub/deep fifo
			cat sub/file; readlink link dirlink; [ -e link/ ] || [ -e dirlink/secret ] || echo inside; stat -f -c %T .; grep ' /etc ' /proc/self/mountinfo | cut -d' ' -f6`)
		o.want(t, "sub/file regular file 4711 7 1000000000", ". directory 711 0", "sub directory 750 7", "sub/deep directory 750 7",
			"fifo fifo 640 7", "content", canary+"/secret", canary, "inside", "tmpfs", "ro,relatime")
		wantText(t, filepath.Join(canary, "secret"), "secret\n")
	})
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

func TestIDMappedBinds(t *testing.T) {
	r := newRig(t).userns(t)
	src := r.host(t, "src")
	must(t, os.Mkdir(filepath.Join(src, "sub"), 0o755))
	// Not a tmpfs: those can be id-mapped from Linux 6.3 on.
	hostMount(t, r.host(t, "other"), filepath.Join(src, "sub"), "", unix.MS_BIND, "")
	must(t, os.WriteFile(filepath.Join(src, "f"), nil, 0o600))
	must(t, os.Chown(filepath.Join(src, "f"), 5, 6))
	r.mount("/plain", "bind", src, "rbind")
	r.mount("/own", "bind", src, "rbind", "idmap")
	r.mount("/all", "bind", src, "rbind", "ridmap")
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostID + 1000, Size: 10}}
	m := r.mount("/maps", "bind", src, "rbind")
	m.UIDMappings, m.GIDMappings = maps, maps
	r.mount("/word", "bind", src, "bind", "idmap=uids=5-100099-1;gids=6-100098-1")
	r.defaults().run(t, "stat -c '%n %u %g' /*/f /*/sub; touch /own/made && echo made").want(t,
		"/plain/f 65534 65534", "/own/f 5 6", "/all/f 5 6", "/maps/f 1005 1006", "/word/f 99 98",
		"/plain/sub 65534 65534", "/own/sub 65534 65534", "/all/sub 0 0", "made")
	if st, err := os.Stat(filepath.Join(src, "made")); err != nil || st.Sys() == nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(src, "made"), &st))
	if st.Uid != 0 {
		t.Errorf("a file made through the id-mapped mount belongs to %d on the host", st.Uid)
	}
}

func TestIDMapErrors(t *testing.T) {
	r := newRig(t)
	m := r.mount("/dst", "bind", "/proc/sys", "bind", "idmap")
	r.run(t, "true").refused(t, "mounts[1].options: idmap needs uidMappings and gidMappings, or a user namespace")
	m.UIDMappings = []specs.LinuxIDMapping{{HostID: 5, Size: 1}}
	r.run(t, "true").refused(t, "mounts[1].uidMappings: uidMappings and gidMappings go together")
	m.GIDMappings = m.UIDMappings
	r.run(t, "true").refused(t, "mounts[1].source: id-map /proc/sys: invalid argument: its file system (proc)", "does not support id-mapped mounts")
	m.Type, m.Options = "tmpfs", []string{"idmap"}
	r.run(t, "true").refused(t, "mounts[1].options: only bind mounts can be id-mapped")
	r = newRig(t).userns(t).ordinary(t)
	r.mount("/dst", "bind", "/tmp", "bind", "idmap")
	r.run(t, "true").refused(t, "mounts[1].options: id-mapped mounts need root's rights")
}

func TestMountErrors(t *testing.T) {
	for _, tt := range []struct {
		m    specs.Mount
		want string
	}{
		{specs.Mount{Type: "tmpfs"}, "mounts[1].destination: missing"},
		{specs.Mount{Destination: "/x\x00"}, "mounts[1].destination: zero byte in a path"},
		{specs.Mount{Destination: "/x"}, "mounts[1].type: missing"},
		{specs.Mount{Destination: "/x", Type: "bind"}, "mounts[1].source: missing"},
		{specs.Mount{Destination: "/x", Type: "bind", Source: "nowhere"}, "/nowhere: no such file or directory"},
		{specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"size=lots"}}, `mount tmpfs on "/x": tmpfs: option size=lots: Bad value for 'size': invalid argument`},
		{specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"color=red"}}, `mount tmpfs on "/x": tmpfs: option color=red: Unknown parameter 'color': invalid argument`},
		{specs.Mount{Destination: "/x", Type: "nofs"}, `mount nofs on "/x": nofs: the kernel has no such file system: no such device`},
		{specs.Mount{Destination: "/x", Type: "overlay", Options: []string{"lowerdir=/nowhere"}}, `mount overlay on "/x": overlay: `},
		{specs.Mount{Destination: "/usr/bin", Type: "bind", Source: "/etc/passwd"}, `mount "/etc/passwd" on "/usr/bin": target is a directory, source is not: is a directory`},
		{specs.Mount{Destination: "/usr/bin/env", Type: "bind", Source: "/etc"}, `mount "/etc" on "/usr/bin/env": source is a directory, target is not: not a directory`},
	} {
		r := newRig(t)
		r.spec.Mounts = append(r.spec.Mounts, tt.m)
		r.defaults().run(t, "true").refused(t, tt.want)
	}
}

// Overlay's layers do not fit the 255 bytes of a fsconfig parameter.
func TestLongOverlay(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		var lower []string
		for i := range 12 {
			dir := r.host(t, "layer"+strings.Repeat("x", 40)+itoa(i))
			must(t, os.WriteFile(filepath.Join(dir, itoa(i)), nil, 0o644))
			lower = append(lower, dir)
		}
		r.mount("/dst", "overlay", "overlay", "lowerdir="+strings.Join(lower, ":"), "noexec")
		r.defaults().run(t, "ls /dst | wc -l; grep ' /dst ' /proc/self/mountinfo | cut -d' ' -f6").want(t, "12", "rw,noexec,relatime")
	})
}

func TestOverSlash(t *testing.T) {
	r := newRig(t)
	src := r.host(t, "src")
	for _, d := range []string{"usr", "bin", "lib", "lib64"} {
		if d == "usr" {
			must(t, os.Mkdir(filepath.Join(src, d), 0o755))
		} else {
			must(t, os.Symlink("usr/"+d, filepath.Join(src, d)))
		}
	}
	usr := r.spec.Mounts[0]
	r.spec.Mounts[0] = specs.Mount{Destination: "/", Type: "bind", Source: src, Options: []string{"rbind"}}
	r.spec.Mounts = append(r.spec.Mounts, usr)
	must(t, os.WriteFile(filepath.Join(src, "marker"), nil, 0o644))
	r.run(t, "ls /marker").want(t, "/marker")
}

func TestRemount(t *testing.T) {
	r := newRig(t).defaults()
	r.mount("/dev/shm", "", "", "remount", "ro", "size=128k")
	m := r.run(t, mountinfo).mounts(t)["/dev/shm"]
	if m.options != "ro,nosuid,nodev,noexec,relatime" || !strings.Contains(m.super, "size=128k") {
		t.Errorf("/dev/shm is %+v", m)
	}
}

func TestLinkWords(t *testing.T) {
	inVariants(t, func(t *testing.T, r *rig) {
		src := r.host(t, "src")
		must(t, os.WriteFile(filepath.Join(src, "file"), []byte("text\n"), 0o644))
		must(t, os.Symlink("file", filepath.Join(src, "link")))
		must(t, os.Symlink("/tmp/target", filepath.Join(r.root, "etc/link")))
		link := filepath.Join(src, "link")
		r.mount("/copied/link", "bind", link, "bind", "copy-symlink")
		r.mount("/copied/file", "bind", filepath.Join(src, "file"), "bind", "copy-symlink")
		r.mount("/itself", "bind", link, "bind", "src-nofollow")
		r.mount("/etc/link", "bind", filepath.Join(src, "file"), "bind", "dest-nofollow")
		r.defaults().run(t, "readlink /copied/link; cat /copied/link; readlink /itself; cat /etc/link; ls /tmp | wc -l").
			want(t, "file", "text", "file", "0")
	})
}

func TestSysWithoutNetworkNamespace(t *testing.T) {
	for _, name := range []string{"userns", "ordinary"} {
		t.Run(name, func(t *testing.T) {
			r := variants[name](t)
			// Shares the host's network and processes: no instances of its own.
			ns := r.spec.Linux.Namespaces
			r.spec.Linux.Namespaces = nil
			for _, n := range ns {
				if n.Type != specs.NetworkNamespace && n.Type != specs.PIDNamespace && n.Type != specs.IPCNamespace {
					r.spec.Linux.Namespaces = append(r.spec.Linux.Namespaces, n)
				}
			}
			must(t, os.MkdirAll("/dev/mqueue", 0o755))
			m := r.defaults().run(t, mountinfo).mounts(t)
			if m["/sys"].fs != "sysfs" || !strings.HasPrefix(m["/sys"].options, "ro,nosuid,nodev,noexec") || m["/proc"].fs != "proc" {
				t.Errorf("%+v", m)
			}
		})
	}
}

// What is odd but harmless is said and goes on.
func TestWarnings(t *testing.T) {
	r := newRig(t).defaults()
	var lines []string
	r.opt.Warn = func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	r.mount("relative/dir", "bind", "/etc", "bind", "size=4")
	r.run(t, "test -e /relative/dir/passwd").want(t)
	if got, want := strings.Join(lines, "\n"), `mounts[7].destination: "relative/dir" is not absolute, taken as "/relative/dir"
mounts[7].options: a bind mount has no file system options such as "size=4"`; got != want {
		t.Errorf("warnings:\n%s", got)
	}
}
