package main

import (
	"cmp"
	"os"

	"berth/cli/docker"
	"berth/engine"
	"berth/image"
	"berth/rootless"
	"berth/settings"
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
	s.Root = cmp.Or(g.Root, os.Getenv("BERTH_ROOT"), s.Root)
	s.Run = cmp.Or(g.RunRoot, os.Getenv("BERTH_RUN"), s.Run)
	return s, nil
}

// open builds the engine of concrete parts: the only place that does.
func open(s *settings.Settings, g docker.Globals) (*engine.Engine, error) {
	store, err := image.Open(image.Options{
		Root: s.Root, Run: s.Run, Podman: g.Podman, UID: rootless.UID(), ConfigDir: s.ConfigDir, Mirrors: s.Mirrors, Insecure: s.Insecure,
		Warn: g.Warn,
	})
	if err != nil {
		return nil, err
	}
	return &engine.Engine{
		Images: store, Lists: store.Lists(), Registries: store.Registries(), Trust: image.NewTrust(store), Platform: s.Platform, Closer: store,
	}, nil
}
