package docker

import (
	"context"

	"berth/cli/docker/command"
	"berth/cli/docker/containers"
	"berth/cli/docker/images"
	"berth/cli/docker/networks"
	"berth/cli/docker/secrets"
	"berth/cli/docker/volumes"
)

// some is a verb on any number of containers, which podman also takes from
// flags.
func some(top, group, short string, make func() command.Verb) both {
	return both{command.Entry{
		Use: "[OPTIONS] CONTAINER [CONTAINER...]", Short: short, Words: atLeast(1), Podman: podman(atLeast(0)), Containers: true, New: make,
	}, top, group}
}

// single is a verb with words of its own.
func single(word, use, short string, words command.Count, make func() command.Verb) both {
	return both{command.Entry{Use: use, Short: short, Words: words, Containers: true, New: make}, word, word}
}

// plainUse leaves [OPTIONS] out where docker's help does.
func plainUse(b both) both {
	b.Use = "CONTAINER [CONTAINER...]"
	return b
}

// containerVerbs stand below container and at the top.
func containerVerbs() []both {
	run := single("run", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Run a command in a new container", atLeast(1), func() command.Verb { return new(containers.Run) })
	create := single("create", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", atLeast(1), func() command.Verb { return new(containers.Create) })
	for _, r := range []*both{&run, &create} {
		r.Containers, r.Images, r.ShowHelp = false, true, true
	}
	list := single("ps", "[OPTIONS]", "List containers", exactly(0), func() command.Verb { return new(containers.List) })
	list.group, list.Aliases, list.Containers = "ls", []string{"ps", "list"}, false
	return append([]both{
		run, create, list,
		some("start", "start", "Start one or more stopped containers", func() command.Verb { return new(containers.Start) }),
		some("stop", "stop", "Stop one or more running containers", func() command.Verb { return new(containers.Stop) }),
		some("restart", "restart", "Restart one or more containers", func() command.Verb { return new(containers.Restart) }),
		some("kill", "kill", "Kill one or more running containers", func() command.Verb { return new(containers.Kill) }),
		some("rm", "rm", "Remove one or more containers", func() command.Verb { return new(containers.Remove) }),
		plainUse(some("pause", "pause", "Pause all processes within one or more containers", func() command.Verb { return new(containers.Freeze) })),
		plainUse(some("unpause", "unpause", "Unpause all processes within one or more containers", func() command.Verb { return &containers.Freeze{Thaw: true} })),
		plainUse(some("wait", "wait", "Block until one or more containers stop, then print their exit codes", func() command.Verb { return new(containers.Wait) })),
	}, oneContainer()...)
}

// oneContainer are the verbs on one container.
func oneContainer() []both {
	attach := single("attach", "[OPTIONS] CONTAINER", "Attach local standard input, output, and error streams to a running container", exactly(1), func() command.Verb { return new(containers.Attach) })
	exec := single("exec", "[OPTIONS] CONTAINER COMMAND [ARG...]", "Run a command in a running container", atLeast(2), func() command.Verb { return new(containers.Exec) })
	logs := single("logs", "[OPTIONS] CONTAINER", "Fetch the logs of a container", exactly(1), func() command.Verb { return new(containers.Logs) })
	top := single("top", "CONTAINER [ps OPTIONS]", "Display the running processes of a container", atLeast(1), func() command.Verb { return new(containers.Top) })
	port := single("port", "CONTAINER [PRIVATE_PORT[/PROTO]]", "List port mappings or a specific mapping for the container", from(1, 2), func() command.Verb { return new(containers.Port) })
	diff := single("diff", "CONTAINER", "Inspect changes to files or directories on a container's filesystem", exactly(1), func() command.Verb { return new(containers.Diff) })
	for _, b := range []*both{&attach, &logs, &port, &diff} {
		b.Podman = podman(command.Count{Max: b.Words.Max})
	}
	logs.Podman, exec.Podman, top.Podman = podman(atLeast(0)), podman(atLeast(1)), podman(atLeast(0))
	cp := single("cp", "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH", "Copy files/folders between a container and the local filesystem", exactly(2), func() command.Verb { return new(containers.Copy) })
	cp.Long = aboutCopy
	stats := single("stats", "[OPTIONS] [CONTAINER...]", "Display a live stream of container(s) resource usage statistics", atLeast(0), func() command.Verb { return new(containers.Stats) })
	update := single("update", "[OPTIONS] CONTAINER [CONTAINER...]", "Update configuration of one or more containers", atLeast(1), func() command.Verb { return new(containers.Update) })
	return []both{
		attach, exec, logs, top, port, diff, cp, stats, update,
		single("commit", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Create a new image from a container's changes", from(1, 2), func() command.Verb { return new(containers.Commit) }),
		single("export", "[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive", exactly(1), func() command.Verb { return new(containers.Export) }),
		single("rename", "CONTAINER NEW_NAME", "Rename a container", exactly(2), func() command.Verb { return new(containers.Rename) }),
	}
}

const aboutCopy = `Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`

// containerOnly stand at one place: below container, or at the top.
func containerOnly() []*command.Entry {
	return []*command.Entry{
		{Path: "container inspect", Use: "[OPTIONS] CONTAINER [CONTAINER...]", Short: "Display detailed information on one or more containers", Words: atLeast(1), Podman: podman(atLeast(0)), Containers: true, New: func() command.Verb { return new(containers.Inspect) }},
		{Path: "container prune", Use: "[OPTIONS]", Short: "Remove all stopped containers", New: func() command.Verb { return new(containers.Prune) }},
		{Path: "container exists", Use: "CONTAINER", Short: "Check if a container exists in local storage", Words: exactly(1), Extra: true, Containers: true, New: func() command.Verb { return new(containers.Exists) }},
		{Path: "events", Use: "[OPTIONS]", Short: "Get real time events from the server", New: func() command.Verb { return new(containers.Events) }},
		{Path: "system events", Use: "[OPTIONS]", Short: "Get real time events from the server", New: func() command.Verb { return new(containers.Events) }},
		{Path: "healthcheck", Use: "COMMAND", Short: "Manage health checks on containers", Extra: true},
		{Path: "healthcheck run", Use: "CONTAINER", Short: "Run the health check of a container", Words: exactly(1), Extra: true, Containers: true, New: func() command.Verb { return new(containers.HealthRun) }},
	}
}

// podmanVerbs are podman's own, below container and at the top.
func podmanVerbs() []both {
	init := some("init", "init", "Initialize one or more containers", func() command.Verb { return new(containers.Init) })
	mount := some("mount", "mount", "Mount a working container's root filesystem", func() command.Verb { return new(containers.Mount) })
	mount.Words = atLeast(0)
	unmount := some("unmount", "unmount", "Unmount a working container's root filesystem", func() command.Verb { return new(containers.Unmount) })
	umount := unmount
	umount.top, umount.group, umount.Hidden = "umount", "umount", true
	list := []both{init, mount, unmount, umount}
	for i := range list {
		list[i].Extra = true
	}
	return list
}

// inspectOthers looks for what inspect finds besides images.
func inspectOthers(ctx context.Context, c *command.Call, q images.Query) (doc any, found bool, err error) {
	if q.Kind == "" || q.Kind == "container" {
		if doc, found, err = containers.Document(ctx, c, q.Name, q.Size); found || err != nil {
			return doc, found, err
		}
	}
	if q.Kind == "network" {
		return networks.Document(ctx, c, q.Name)
	}
	if q.Kind == "volume" {
		return volumes.Document(ctx, c, q.Name)
	}
	return nil, false, nil
}

func volumeVerbs() []*command.Entry {
	row := func(word, use, short string, words command.Count, make func() command.Verb) *command.Entry {
		return &command.Entry{Path: "volume " + word, Use: use, Short: short, Words: words, New: make}
	}
	list := row("ls", "[OPTIONS]", "List volumes", exactly(0), func() command.Verb { return new(volumes.List) })
	list.Aliases = []string{"list"}
	rm := row("rm", "[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes", atLeast(1), func() command.Verb { return new(volumes.Remove) })
	rm.Aliases, rm.Podman = []string{"remove"}, podman(atLeast(0))
	rm.Long, rm.Examples = "Remove one or more volumes. You cannot remove a volume that is in use by a container.", "\n$ docker volume rm hello\nhello\n"
	inspect := row("inspect", "[OPTIONS] VOLUME [VOLUME...]", "Display detailed information on one or more volumes", atLeast(1), func() command.Verb { return new(volumes.Inspect) })
	inspect.Podman = podman(atLeast(0))
	more := []*command.Entry{
		row("rename", "VOLUME NEW_NAME", "Rename a volume", exactly(2), func() command.Verb { return new(volumes.Rename) }),
		row("exists", "VOLUME", "Check if a volume exists", exactly(1), func() command.Verb { return new(volumes.Exists) }),
		row("export", "[OPTIONS] VOLUME", "Export a volume's files as a tar archive", exactly(1), func() command.Verb { return new(volumes.Export) }),
		row("import", "VOLUME [SOURCE]", "Import a tar archive into a volume", exactly(2), func() command.Verb { return new(volumes.Import) }),
	}
	for _, e := range more {
		e.Extra = true
	}
	return append([]*command.Entry{
		{Path: "volume", Use: "COMMAND", Short: "Manage volumes"},
		row("create", "[OPTIONS] [VOLUME]", "Create a volume", upTo(1), func() command.Verb { return new(volumes.Create) }),
		list, inspect, rm,
		row("prune", "[OPTIONS]", "Remove all unused local volumes", exactly(0), func() command.Verb { return new(volumes.Prune) }),
	}, more...)
}

func networkVerbs() []*command.Entry {
	row := func(word, use, short string, words command.Count, make func() command.Verb) *command.Entry {
		return &command.Entry{Path: "network " + word, Use: use, Short: short, Words: words, New: make}
	}
	create := row("create", "[OPTIONS] NETWORK", "Create a network", exactly(1), func() command.Verb { return new(networks.Create) })
	create.Podman = podman(upTo(1))
	list := row("ls", "[OPTIONS]", "List networks", exactly(0), func() command.Verb { return new(networks.List) })
	list.Aliases = []string{"list"}
	rm := row("rm", "NETWORK [NETWORK...]", "Remove one or more networks", atLeast(1), func() command.Verb { return new(networks.Remove) })
	rm.Aliases = []string{"remove"}
	exists := row("exists", "NETWORK", "Check if a network exists", exactly(1), func() command.Verb { return new(networks.Exists) })
	update := row("update", "[OPTIONS] NETWORK", "Update a network", exactly(1), func() command.Verb { return new(networks.Update) })
	reload := row("reload", "[OPTIONS] [CONTAINER...]", "Make the rules and devices of containers' networks anew", atLeast(0), func() command.Verb { return new(networks.Reload) })
	watch := row("watch", "", "Mend what others flush of rules and devices, until it is stopped", exactly(0), func() command.Verb { return new(networks.Watch) })
	exists.Extra, update.Extra, reload.Extra, watch.Extra = true, true, true, true
	return []*command.Entry{
		{Path: "network", Use: "COMMAND", Short: "Manage networks"},
		row("connect", "[OPTIONS] NETWORK CONTAINER", "Connect a container to a network", exactly(2), func() command.Verb { return new(networks.Connect) }),
		create,
		row("disconnect", "[OPTIONS] NETWORK CONTAINER", "Disconnect a container from a network", exactly(2), func() command.Verb { return new(networks.Disconnect) }),
		row("inspect", "[OPTIONS] NETWORK [NETWORK...]", "Display detailed information on one or more networks", atLeast(1), func() command.Verb { return new(networks.Inspect) }),
		list,
		row("prune", "[OPTIONS]", "Remove all unused networks", exactly(0), func() command.Verb { return new(networks.Prune) }),
		rm, exists, update, reload, watch,
	}
}

// secretVerbs are podman's.
func secretVerbs() []*command.Entry {
	row := func(word, use, short string, words command.Count, make func() command.Verb) *command.Entry {
		return &command.Entry{Path: "secret " + word, Use: use, Short: short, Words: words, Extra: true, New: make}
	}
	list := row("ls", "[OPTIONS]", "List secrets", exactly(0), func() command.Verb { return new(secrets.List) })
	list.Aliases = []string{"list"}
	rm := row("rm", "[OPTIONS] SECRET [SECRET...]", "Remove one or more secrets", atLeast(0), func() command.Verb { return new(secrets.Remove) })
	rm.Aliases = []string{"remove"}
	return []*command.Entry{
		{Path: "secret", Use: "COMMAND", Short: "Manage secrets", Extra: true},
		row("create", "[OPTIONS] NAME FILE|-", "Create a new secret", exactly(2), func() command.Verb { return new(secrets.Create) }),
		list, rm,
		row("inspect", "[OPTIONS] SECRET [SECRET...]", "Inspect a secret", atLeast(1), func() command.Verb { return new(secrets.Inspect) }),
		row("exists", "SECRET", "Check if a secret exists in local storage", exactly(1), func() command.Verb { return new(secrets.Exists) }),
	}
}
