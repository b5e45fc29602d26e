package main

import "path/filepath"

// engine is one of the three: its command line, its store on a disk.
type engine struct {
	stage *stage
	disk  *disk
	name  string
	flags []string
	pull  []string
	// renew empties its store.
	renew func() error
}

func (s *stage) makeEngines() error {
	var disks [3]*disk
	for i, name := range []string{"berth", "docker", "podman"} {
		var err error
		if disks[i], err = s.newDisk(name); err != nil {
			return err
		}
	}
	on := func(d *disk, elem string) string { return filepath.Join(d.root, elem) }
	s.berth = &engine{stage: s, disk: disks[0], name: s.program, pull: []string{"pull", "-q"},
		flags: []string{"--root", on(disks[0], "store"), "--runroot", s.dir + "/berth-run"}, renew: disks[0].renew}
	s.docker = &engine{stage: s, disk: disks[1], name: "docker", pull: []string{"pull", "-q"},
		flags: []string{"-H", "unix://" + s.dir + "/docker.sock"}, renew: s.renewDocker}
	s.podman = &engine{stage: s, disk: disks[2], name: "podman", pull: []string{"pull", "-q", "--tls-verify=false"},
		flags: []string{"--root", on(disks[2], "store"), "--runroot", s.dir + "/podman-run", "--tmpdir", s.dir + "/podman-tmp", "--storage-driver", "overlay",
			"--cgroup-manager", "cgroupfs", "--events-backend", "file"}, renew: disks[2].renew}
	return nil
}

func (s *stage) renewDocker() error {
	s.stopDocker()
	if err := s.docker.disk.renew(); err != nil {
		return err
	}
	return s.startDocker()
}

func (e *engine) args(args ...string) []string {
	return append(e.flags[:len(e.flags):len(e.flags)], args...)
}

// run runs a command of the engine and drops what it prints.
func (e *engine) run(args ...string) error {
	_, err := e.stage.output(e.name, e.args(args...)...)
	return err
}
