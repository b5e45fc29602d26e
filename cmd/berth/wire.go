package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"berth/base/journal"
	"berth/cli/docker"
	"berth/container"
	"berth/engine"
	"berth/image"
	"berth/network"
	"berth/rootless"
	"berth/runtime"
	"berth/secret"
	"berth/settings"
	"berth/sys/proc"
	"berth/volume"
)

// load reads the settings; --config counts as DOCKER_CONFIG for all that look
// there. BERTH_ETC, BERTH_ROOT and BERTH_RUN stand for /etc, the store's folder
// and the run folder, for stores of one's own.
func load(g docker.Globals) (*settings.Settings, error) {
	if g.ClientDir != "" {
		if err := os.Setenv("DOCKER_CONFIG", g.ClientDir); err != nil {
			return nil, err
		}
	}
	s, err := settings.Load(settings.Places{UID: rootless.UID, ClientDir: g.ClientDir, Etc: os.Getenv("BERTH_ETC")})
	if err != nil {
		return nil, err
	}
	if s.ClientError != nil && g.Warn != nil {
		//lint:ignore ST1005 Docker's words
		g.Warn(fmt.Errorf("Error loading config file: %w", s.ClientError))
	}
	s.Root = cmp.Or(g.Root, os.Getenv("BERTH_ROOT"), s.Root)
	s.Run = cmp.Or(g.RunRoot, os.Getenv("BERTH_RUN"), s.Run)
	return s, nil
}

// open builds the engine of concrete parts: the only place that does. outside is
// why an ordinary user has no namespace, without which there are no containers.
func open(s *settings.Settings, g docker.Globals, outside error) (*engine.Engine, error) {
	store, err := image.Open(image.Options{
		Root: s.Root, Run: s.Run, Podman: g.Podman, UID: rootless.UID(), ConfigDir: s.ConfigDir, Mirrors: s.Mirrors, Insecure: s.Insecure,
		Warn: g.Warn,
	})
	if err != nil {
		return nil, err
	}
	e := &engine.Engine{
		Images: store, Writables: image.NewWritables(store), Lists: store.Lists(), Registries: store.Registries(), Trust: image.NewTrust(store), Platform: s.Platform, Closer: store, Warn: g.Warn,
		Runtime: &runtime.Runtime{Root: filepath.Join(s.Run, "oci")},
	}
	if outside != nil { // the engine says so to who asks for containers
		e.NoContainers = outside
		return e, nil
	}
	if err := containers(e, s, g); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return e, nil
}

// containers builds what containers need.
func containers(e *engine.Engine, s *settings.Settings, g docker.Globals) (err error) {
	if e.Containers, err = container.Open(container.Options{Root: s.Root, Run: s.Run, Warn: g.Warn}); err != nil {
		return err
	}
	e.Ranges, e.Parts, e.Levels = e.Containers.Ranges(), container.PartsOf(e.Containers), container.LevelsOf(e.Containers)
	n := s.Network
	var home network.Home
	usual := 0
	if rootless.UID() != 0 {
		usual = rootless.MTU
		home = &rootless.Network{Run: holderRun(), ReachHost: s.Uplink.Host, Warn: g.Warn}
	}
	e.Networks, err = network.Open(network.Options{Root: s.Root, Run: s.Run, Home: home, Live: func(id string) bool { return e.Containers.Exists(container.ID(id)) },
		Settings: network.Settings{Bridge: n.Bridge, Address: n.Address, FixedCIDR: n.Fixed, Gateway: n.Gateway,
			IPv6: n.IPv6, Address6: n.Address6, FixedCIDR6: n.Fixed6, Gateway6: n.Gateway6, Pools: pools(n.Pools), MTU: n.MTU, UsualMTU: usual,
			DockerRoot: n.DockerRoot, NoICC: !n.ICC, NoMasq: !n.Masq, NoRelay: !n.Relay, NoIntegrate: !n.Integrate, PublishAddress: n.Publish}})
	if err != nil {
		return err
	}
	if e.Volumes, err = volume.Open(volume.Options{Root: s.Root, Run: s.Run, Warn: g.Warn, NoMounts: rootless.UID() != 0}); err != nil {
		return err
	}
	if e.Secrets, err = secret.Open(secret.Options{Root: s.Root, Run: s.Run, Warn: g.Warn}); err != nil {
		return err
	}
	e.Journal = journal.Open(filepath.Join(s.Run, "journal"))
	program, err := pinned()
	if err != nil {
		return err
	}
	inside, err := proc.InUserNamespace() // in a container: root of it is not root of the host
	if err != nil {
		return err
	}
	e.Defaults = engine.Defaults{
		Containers: s.Containers, Program: program, Globals: []string{"--root", s.Root, "--runroot", s.Run},
		Environ: environ(), Rootless: inside || rootless.UID() != 0,
	}
	if home != nil {
		e.Defaults.HostAddress = rootless.HostAddress
		e.Defaults.Person = sync.OnceValues(rootless.Who)
	}
	return nil
}

// holderRun is the folder in which a user's holder is noted, whatever store is worked on.
func holderRun() string {
	return cmp.Or(os.Getenv("BERTH_RUN"), settings.RunFolder(settings.Places{UID: rootless.UID}))
}

func pools(all []settings.Pool) []network.Pool {
	var out []network.Pool
	for _, p := range all {
		out = append(out, network.Pool{Base: p.Base, Size: p.Size})
	}
	return out
}

// pinned is this program's own path, by which monitors start it.
func pinned() (string, error) {
	p, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return p, nil
}

// environ is what a program that a monitor starts knows of its surroundings:
// where the settings are, and nothing that the caller's shell says.
func environ() []string {
	var out []string
	for _, name := range []string{"BERTH_ETC", "BERTH_RUN", "BERTH_USER_UID", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME", "PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}
