package differential

import (
	"os"

	"berth/test/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func limit(kind string, soft, hard uint64) specs.POSIXRlimit {
	return specs.POSIXRlimit{Type: kind, Soft: soft, Hard: hard}
}

func processCases() []scenario {
	process := func(f func(*specs.Process)) func(*host) []bundle.Option {
		return edit(func(s *specs.Spec) { f(s.Process) })
	}
	return []scenario{
		{name: "user", bundle: with(bundle.User(1000, 1001, 5, 7, 9))},
		{name: "user-unknown", bundle: with(bundle.User(4242, 4243))},
		{name: "user-only-group", bundle: with(bundle.User(0, 1000))},
		{name: "umask", bundle: process(func(p *specs.Process) { m := uint32(0o027); p.User.Umask = &m })},
		{name: "cwd", bundle: with(bundle.Cwd("/tmp"))},
		{name: "cwd-missing", bundle: with(bundle.Cwd("/not/there")), do: q("stat /not", "stat /not/there")},
		{name: "cwd-missing-user", bundle: with(bundle.Cwd("/not/there"), bundle.User(1000, 1000)), do: q("stat /not/there")},
		{name: "cwd-symlink", bundle: with(bundle.Symlink("/tmp", "/link"), bundle.Cwd("/link"))},
		{name: "cwd-relative", fails: true, says: "cwd", bundle: with(bundle.Cwd("tmp"))},
		{name: "cwd-file", fails: true, bundle: with(bundle.Cwd("/etc/passwd"))},
		{name: "cwd-of-user-only", bundle: with(bundle.Dir("/private", 0o700), bundle.Cwd("/private"), bundle.User(1000, 1000))},
		{name: "env", bundle: with(bundle.Env("A=b", "EMPTY=", "EQ=a=b=c", "SPACE=a b"))},
		{name: "env-empty", bundle: process(func(p *specs.Process) { p.Env = nil })},
		{name: "env-home-from-passwd", bundle: with(bundle.User(1000, 1000), bundle.Edit(func(s *specs.Spec) {
			s.Process.Env = []string{"PATH=/bin"}
		})), do: q("env")},
		{name: "env-home-unknown-user", bundle: with(bundle.User(4242, 1000), bundle.Edit(func(s *specs.Spec) {
			s.Process.Env = []string{"PATH=/bin"}
		})), do: q("env")},
		{name: "args-by-path", bundle: process(func(p *specs.Process) {
			p.Env, p.Args[0] = []string{"PATH=/nowhere:/"}, "probe"
		})},
		{name: "args-relative", bundle: process(func(p *specs.Process) { p.Args[0] = "./probe" })},
		{name: "args-empty", fails: true, says: "args", bundle: process(func(p *specs.Process) { p.Args = nil })},
		{name: "args-not-executable", fails: true, bundle: process(func(p *specs.Process) { p.Args = []string{"/etc/passwd"} })},
		{name: "args-script", bundle: with(bundle.File("/script", "#!/bin/sh\nexec /probe do echo \"$0\" \"$@\"\n", 0o755),
			bundle.Args("/script", "one", "two three")), do: q("echo unused")},
		{name: "no-new-privileges", bundle: process(func(p *specs.Process) { p.NoNewPrivileges = true })},
		{name: "oom-score", bundle: process(func(p *specs.Process) { n := 321; p.OOMScoreAdj = &n })},
		{name: "oom-score-zero", bundle: process(func(p *specs.Process) { n := 0; p.OOMScoreAdj = &n })},
		{name: "rlimits", bundle: process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{limit("RLIMIT_NOFILE", 100, 200), limit("RLIMIT_CORE", 0, 0),
				limit("RLIMIT_NPROC", 50, 60), limit("RLIMIT_STACK", 1<<20, 1<<22), limit("RLIMIT_MEMLOCK", 4096, 8192)}
		})},
		{name: "rlimit-unknown", fails: true, says: "RLIMIT_NOSUCH", bundle: process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{limit("RLIMIT_NOSUCH", 1, 1)}
		})},
		{name: "rlimit-soft-over-hard", fails: true, bundle: process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{limit("RLIMIT_NOFILE", 200, 100)}
		})},
		{name: "rlimit-twice", peer: written, fails: true, bundle: process(func(p *specs.Process) {
			p.Rlimits = []specs.POSIXRlimit{limit("RLIMIT_NOFILE", 200, 300), limit("RLIMIT_NOFILE", 100, 200)}
		})},
		{name: "terminal", tty: true, bundle: with(bundle.Terminal(0, 0))},
		{name: "terminal-size", tty: true, bundle: with(bundle.Terminal(33, 77))},
		{name: "terminal-user", tty: true, bundle: with(bundle.Terminal(10, 20), bundle.User(1000, 1000)),
			do: q("stat /dev/console", "try-open /dev/tty rw", "try-open /dev/console rw", "stat /dev/pts/0")},
		{name: "preserve-fds", run: []string{"--preserve-fds", "1"}, bundle: func(h *host) []bundle.Option {
			for _, name := range []string{"a", "b"} {
				f, err := os.Create(h.file(name, "", 0o644))
				if err != nil {
					h.t.Fatal(err)
				}
				h.t.Cleanup(func() { f.Close() })
				h.files = append(h.files, f)
			}
			return nil
		}},
		{name: "root-path-absolute", bundle: func(h *host) []bundle.Option {
			return []bundle.Option{func(b *bundle.Bundle) error { b.Spec.Root.Path = b.Rootfs; return nil }}
		}},
		{name: "root-path-symlink", peer: crun, bundle: func(h *host) []bundle.Option {
			return []bundle.Option{func(b *bundle.Bundle) error {
				b.Spec.Root.Path = "link"
				return os.Symlink("rootfs", b.Dir+"/link")
			}}
		}, do: q("stat /probe", "list /")},
	}
}

func execCases() []scenario {
	seccompOption := bundle.Seccomp()
	return []scenario{
		{name: "exec", exec: []string{}},
		{name: "exec-user", exec: []string{"--user", "1000:1001", "--additional-gids", "5"}},
		{name: "exec-user-without-group", exec: []string{"--user", "1000"}},
		{name: "exec-cwd-env", exec: []string{"--cwd", "/tmp", "--env", "X=1", "--env", "HOME=/x"}},
		{name: "exec-inherits-user", bundle: with(bundle.User(1000, 1000, 7)), exec: []string{}},
		{name: "exec-root-in-user-container", bundle: with(bundle.User(1000, 1000)), exec: []string{"--user", "0:0"}},
		{name: "exec-cap", exec: []string{"--cap", "CAP_SYS_ADMIN", "--cap", "CAP_NET_ADMIN"}},
		{name: "exec-no-new-privs", exec: []string{"--no-new-privs"}},
		{name: "exec-process-limits", bundle: edit(func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{limit("RLIMIT_NOFILE", 111, 222)}
			n := 300
			s.Process.OOMScoreAdj = &n
		}), exec: []string{}},
		{name: "exec-seccomp", bundle: with(seccompOption), exec: []string{}},
		{name: "exec-tty", tty: true, exec: []string{}},
		{name: "exec-tty-user", tty: true, exec: []string{"--user", "1000:1000"}, do: q("stat /dev/pts/0", "try-open /dev/tty rw")},
		{name: "exec-process-json", exec: []string{"--process", `{"user": {"uid": 3, "gid": 4, "additionalGids": [6]},
			"args": ["/probe", "report"], "env": ["A=b"], "cwd": "/tmp", "noNewPrivileges": true,
			"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}],
			"capabilities": {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}}`}},
		{name: "exec-process-json-bad-user", fails: true, exec: []string{"--process", `{"user": {"uid": -3}, "args": ["/probe"], "cwd": "/"}`}},
		{name: "exec-sees-limits", bundle: with(bundle.Resources(func(r *specs.LinuxResources) {
			n := int64(40)
			r.Pids = &specs.LinuxPids{Limit: &n}
		})), exec: []string{}, do: q("read /sys/fs/cgroup/pids/pids.max", "read /proc/self/cgroup")},
		{name: "exec-shared-pid", bundle: with(bundle.Share(specs.PIDNamespace)), exec: []string{}},
		{name: "exec-cwd-missing", fails: true, exec: []string{"--cwd", "/not/there"}},
		{name: "exec-ambient", bundle: edit(func(s *specs.Spec) {
			s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"}
			s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"}
		}), exec: []string{"--user", "1000:1000"}},
	}
}
