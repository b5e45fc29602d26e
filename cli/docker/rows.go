package docker

import (
	"berth/cli/docker/command"
	"berth/cli/docker/follow"
	"berth/cli/docker/images"
	"berth/cli/docker/manifest"
	"berth/cli/docker/registry"
	"berth/cli/docker/system"
	"berth/cli/docker/trust"
	"berth/engine"
)

func about(d command.Dialect) string {
	if d == command.Podman {
		return "Manage pods, containers and images"
	}
	return "A self-sufficient runtime for containers"
}

// exactly, atLeast and upTo say how many words a verb takes.
func exactly(n int) command.Count { return command.Count{Min: n, Max: n} }
func atLeast(n int) command.Count { return command.Count{Min: n, Max: command.Many} }
func upTo(n int) command.Count    { return command.Count{Max: n} }
func from(a, b int) command.Count { return command.Count{Min: a, Max: b} }

func podman(c command.Count) *command.Count { return &c }

// rows is the table of all verbs. A verb under two paths stands twice.
func rows() []*command.Entry {
	var all []*command.Entry
	all = append(all, groups()...)
	for _, both := range imageVerbs() {
		all = append(all, both.under("image", both.group), both.under("", both.top))
	}
	for _, both := range append(containerVerbs(), podmanVerbs()...) {
		all = append(all, both.under("container", both.group), both.under("", both.top))
	}
	all = append(all, containerOnly()...)
	all = append(all, networkVerbs()...)
	all = append(all, volumeVerbs()...)
	all = append(all, secretVerbs()...)
	all = append(all, imageOnly()...)
	all = append(all, hidden()...)
	all = append(all, trustVerbs()...)
	all = append(all, manifestVerbs()...)
	all = append(all, systemVerbs()...)
	return all
}

func groups() []*command.Entry {
	return []*command.Entry{
		{Path: "container", Use: "COMMAND", Short: "Manage containers"},
		{Path: "image", Use: "COMMAND", Short: "Manage images"},
		{Path: "image trust", Use: "COMMAND", Short: "Manage whose images are trusted", Extra: true},
		{Path: "manifest", Use: "COMMAND", Short: "Manage Docker image manifests and manifest lists", Long: aboutManifests},
		{Path: "system", Use: "COMMAND", Short: "Manage Docker"},
	}
}

// both is a verb that stands at the top and below a group.
type both struct {
	command.Entry
	top, group string // its last word there
}

func (b both) under(parent, word string) *command.Entry {
	e := b.Entry
	e.Path = word
	if parent != "" {
		e.Path = parent + " " + word
	}
	if parent == "" {
		e.Aliases = nil
	}
	return &e
}

// imageVerbs stand below image and at the top.
func imageVerbs() []both {
	row := func(top, group, use, short string, words command.Count, make func() command.Verb) both {
		return both{command.Entry{Use: use, Short: short, Words: words, Images: true, New: make}, top, group}
	}
	pull := row("pull", "pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Pull an image or a repository from a registry", exactly(1), func() command.Verb { return new(images.Pull) })
	pull.Podman = podman(atLeast(1))
	push := row("push", "push", "[OPTIONS] NAME[:TAG]", "Push an image or a repository to a registry", exactly(1), func() command.Verb { return new(images.Push) })
	push.Podman = podman(from(1, 2))
	list := row("images", "ls", "[OPTIONS] [REPOSITORY[:TAG]]", "List images", upTo(1), func() command.Verb { return new(images.List) })
	list.Aliases = []string{"list"}
	rm := row("rmi", "rm", "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", atLeast(1), func() command.Verb { return new(images.Remove) })
	rm.Aliases, rm.Podman = []string{"rmi", "remove"}, podman(atLeast(0))
	tag := row("tag", "tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", exactly(2), func() command.Verb { return new(images.Tag) })
	tag.Podman = podman(atLeast(2))
	untag := row("untag", "untag", "IMAGE [IMAGE...]", "Remove a name from a local image", atLeast(1), func() command.Verb { return new(images.Untag) })
	untag.Extra = true
	save := row("save", "save", "[OPTIONS] IMAGE [IMAGE...]", "Save one or more images to a tar archive (streamed to STDOUT by default)", atLeast(1), func() command.Verb { return new(images.Save) })
	load := row("load", "load", "[OPTIONS]", "Load an image from a tar archive or STDIN", exactly(0), func() command.Verb { return new(images.Load) })
	load.Podman, load.Images = podman(upTo(1)), false
	imp := row("import", "import", "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "Import the contents from a tarball to create a filesystem image", atLeast(1), func() command.Verb { return new(images.Import) })
	imp.Podman, imp.Images = podman(from(1, 2)), false
	history := row("history", "history", "[OPTIONS] IMAGE", "Show the history of an image", exactly(1), func() command.Verb { return new(images.History) })
	return []both{pull, push, list, rm, tag, untag, save, load, imp, history}
}

// imageOnly stand below image alone; inspect has another meaning at the top.
func imageOnly() []*command.Entry {
	return []*command.Entry{
		{
			Path: "image inspect", Use: "[OPTIONS] IMAGE [IMAGE...]", Short: "Display detailed information on one or more images",
			Words: atLeast(1), Images: true, New: func() command.Verb { return new(images.Inspect) },
		},
		{
			Path: "inspect", Use: "[OPTIONS] NAME|ID [NAME|ID...]", Short: "Return low-level information on Docker objects",
			Words: atLeast(1), Images: true, New: func() command.Verb { return &images.Inspect{Any: true, Others: inspectOthers} },
		},
		{
			Path: "image prune", Use: "[OPTIONS]", Short: "Remove unused images", New: func() command.Verb { return new(images.Prune) },
		},
		{
			Path: "image mount", Use: "[OPTIONS] [IMAGE...]", Short: "Mount an image's root filesystem", Words: atLeast(0), Extra: true,
			Images: true, New: func() command.Verb { return new(images.Mount) },
		},
		{
			Path: "image unmount", Aliases: []string{"umount"}, Use: "[OPTIONS] [IMAGE...]", Short: "Unmount an image's root filesystem",
			Words: atLeast(0), Extra: true, Images: true, New: func() command.Verb { return new(images.Unmount) },
		},
		{
			Path: "image tree", Use: "[OPTIONS] IMAGE", Short: "Print the layers of an image as a tree", Words: exactly(1), Extra: true,
			Images: true, New: func() command.Verb { return new(images.Tree) },
		},
		{
			Path: "image exists", Use: "IMAGE", Short: "Check if an image exists in local storage", Words: exactly(1), Extra: true,
			Images: true, New: func() command.Verb { return new(images.Exists) },
		},
		{
			Path: "image diff", Use: "[OPTIONS] IMAGE [IMAGE]", Short: "Inspect changes to the image's file systems", Words: from(1, 2),
			Extra: true, Images: true, New: func() command.Verb { return new(images.Diff) },
		},
		{
			Path: "image search", Use: "[OPTIONS] TERM", Short: "Search registry for image", Words: exactly(1), Extra: true,
			New: func() command.Verb { return new(registry.Search) },
		},
	}
}

// trustVerbs are podman's, and two of berth's own.
func trustVerbs() []*command.Entry {
	return []*command.Entry{
		{
			Path: "image trust show", Use: "[OPTIONS] [REGISTRY[/REPOSITORY]]", Short: "Display the trust policy", Words: upTo(1), Extra: true,
			New: func() command.Verb { return new(trust.Show) },
		},
		{
			Path: "image trust set", Use: "[OPTIONS] REGISTRY[/REPOSITORY]|default", Short: "Set the trust for a registry, a repository, or all others",
			Words: exactly(1), Extra: true, New: func() command.Verb { return new(trust.Set) },
		},
		{
			Path: "image trust key", Use: "NAME", Short: "Make a key pair, NAME.key and NAME.pub", Words: exactly(1), Extra: true,
			New: func() command.Verb { return new(trust.Key) },
		},
		{
			Path: "image sign", Use: "[OPTIONS] IMAGE [IMAGE...]", Short: "Sign an image in its registry", Words: atLeast(1), Extra: true,
			New: func() command.Verb { return new(trust.Sign) },
		},
		{
			Path: "image verify", Use: "[OPTIONS] IMAGE [IMAGE...]", Short: "Verify an image in its registry by the trust policy, or by keys",
			Words: atLeast(1), Extra: true, New: func() command.Verb { return new(trust.Verify) },
		},
	}
}

func manifestVerbs() []*command.Entry {
	row := func(path, use, short string, words command.Count, make func() command.Verb) *command.Entry {
		return &command.Entry{Path: "manifest " + path, Use: use, Short: short, Words: words, Images: true, New: make}
	}
	create := row("create", "MANIFEST_LIST MANIFEST [MANIFEST...]", "Create a local manifest list for annotating and pushing to a registry", atLeast(2), func() command.Verb { return new(manifest.Create) })
	create.Podman = podman(atLeast(1))
	push := row("push", "[OPTIONS] MANIFEST_LIST", "Push a manifest list to a repository", exactly(1), func() command.Verb { return new(manifest.Push) })
	push.Podman = podman(from(1, 2))
	add := row("add", "[OPTIONS] LIST IMAGE [IMAGE...]", "Add images to a manifest list", atLeast(2), func() command.Verb { return new(manifest.Add) })
	drop := row("remove", "LIST DIGEST [DIGEST...]", "Remove entries from a manifest list", atLeast(2), func() command.Verb { return new(manifest.Drop) })
	exists := row("exists", "LIST", "Check if a manifest list exists in local storage", exactly(1), func() command.Verb { return new(manifest.Exists) })
	add.Extra, drop.Extra, exists.Extra = true, true, true
	return []*command.Entry{
		row("annotate", "[OPTIONS] MANIFEST_LIST MANIFEST", "Add additional information to a local image manifest", exactly(2), func() command.Verb { return new(manifest.Annotate) }),
		create, push, add, drop, exists,
		row("inspect", "[OPTIONS] [MANIFEST_LIST] MANIFEST", "Display an image manifest, or manifest list", from(1, 2), func() command.Verb { return new(manifest.Inspect) }),
		row("rm", "MANIFEST_LIST [MANIFEST_LIST...]", "Delete one or more manifest lists from local storage", atLeast(1), func() command.Verb { return new(manifest.Remove) }),
	}
}

func systemVerbs() []*command.Entry {
	return []*command.Entry{
		{Path: "search", Use: "[OPTIONS] TERM", Short: "Search the Docker Hub for images", Words: exactly(1), New: func() command.Verb { return new(registry.Search) }},
		{Path: "login", Use: "[OPTIONS] [SERVER]", Short: "Log in to a Docker registry", Long: aboutLogin, Words: upTo(1), New: func() command.Verb { return new(registry.Login) }},
		{Path: "logout", Use: "[SERVER]", Short: "Log out from a Docker registry", Long: aboutLogout, Words: upTo(1), New: func() command.Verb { return new(registry.Logout) }},
		{Path: "system df", Use: "[OPTIONS]", Short: "Show docker disk usage", New: func() command.Verb { return new(system.DiskUsage) }},
		{Path: "system prune", Use: "[OPTIONS]", Short: "Remove unused data", New: func() command.Verb { return new(system.Prune) }},
		{Path: "system info", Use: "[OPTIONS]", Short: "Display system-wide information", New: func() command.Verb { return new(system.Info) }},
		{Path: "system boot", Use: "", Short: "Start the containers whose restart policy wants them after a boot", Long: aboutBoot, Extra: true, New: func() command.Verb { return new(system.Boot) }},
		{Path: "system shutdown", Use: "[OPTIONS]", Short: "Stop all containers before the machine goes down", Long: aboutShutdown, Extra: true, New: func() command.Verb { return new(system.Shutdown) }},
		{Path: "system check", Use: "[OPTIONS]", Short: "Verify the whole store", Extra: true, New: func() command.Verb { return new(system.Check) }},
		{Path: "system migrate", Use: "", Short: "Give the files of images their owners when a user has got subordinate ids", Long: aboutMigrate, Extra: true, New: func() command.Verb { return new(system.Migrate) }},
		{Path: "check", Use: "[OPTIONS]", Short: "Verify the whole store", Extra: true, New: func() command.Verb { return new(system.Check) }},
		{Path: "import-from", Use: "[OPTIONS] docker|podman", Short: "Take over images and tags of another engine on this machine", Words: exactly(1), Extra: true, New: func() command.Verb { return new(system.TakeFrom) }},
		{Path: "info", Use: "[OPTIONS]", Short: "Display system-wide information", New: func() command.Verb { return new(system.Info) }},
		{Path: "version", Use: "[OPTIONS]", Short: "Show the Docker version information", New: func() command.Verb { return new(system.ShowVersion) }},
		{Path: "completion", Use: "bash|zsh|fish", Short: "Generate the autocompletion script for the specified shell", Words: exactly(1), New: func() command.Verb { return new(system.Completion) }},
		{Path: "man", Use: "[OPTIONS] [COMMAND]", Short: "Print manual pages", Words: atLeast(0), Extra: true, New: func() command.Verb { return new(system.Man) }},
	}
}

const aboutMigrate = `Give the files of images and containers their owners when an ordinary user has
got subordinate ids (subuid(5), subgid(5)). A user without them has one id, to
which all files belong; whose they are in the image is noted beside them. No
container may run meanwhile. Where there is nothing to do nothing is said.`

const aboutBoot = `Start the containers whose restart policy wants them after a boot: always,
even if it had been stopped by hand; unless-stopped, if it had not;
on-failure, if its last exit code was not 0 and tries are left.
One that runs already is left alone. The unit berth.service does this at boot.`

const aboutShutdown = `Stop all containers before the machine goes down. All of them get their stop
signal at once, and SIGKILL when their stop timeout is over. A container that
is stopped by this comes back by "system boot" as if it had not been stopped.
The unit berth.service does this at shutdown.`

const aboutLogin = `Log in to a Docker registry.
If no server is specified, the default is defined by the daemon.`

const aboutLogout = `Log out from a Docker registry.
If no server is specified, the default is defined by the daemon.`

const aboutManifests = `A manifest list is one name for the same image built for several architectures.
These commands make one here from images of a registry or of this store, and
push it together with its members.`

// hidden are the words by which monitors start berth.
func hidden() []*command.Entry {
	return []*command.Entry{
		{Path: engine.ExitedWord, Use: "ID", Short: "What follows the end of a container", Hidden: true, Words: exactly(1), New: func() command.Verb { return new(follow.Exited) }},
		{Path: engine.AgainWord, Use: "ID", Short: "Start a container again as its restart policy wants", Hidden: true, Words: exactly(1), New: func() command.Verb { return new(follow.Again) }},
		{Path: engine.HealthWord, Use: "ID", Short: "Run a container's healthcheck once", Hidden: true, Words: exactly(1), New: func() command.Verb { return new(follow.Health) }},
		{Path: engine.RelayWord, Use: "ID", Short: "Have a container's ports relayed", Hidden: true, Words: exactly(1), New: func() command.Verb { return &follow.Beside{Due: engine.RelayDue} }},
		{Path: engine.NamesWord, Use: "ID", Short: "Have a container's names resolved again", Hidden: true, Words: exactly(1), New: func() command.Verb { return &follow.Beside{Due: engine.NamesDue} }},
		{Path: engine.SendWord, Use: "", Short: "Send a container's output from standard input to its log driver", Hidden: true, Words: exactly(0), New: func() command.Verb { return new(follow.Send) }},
		{Path: engine.CompressWord, Use: "", Short: "Compress a log from standard input", Hidden: true, Words: exactly(0), New: func() command.Verb { return new(follow.Compress) }},
	}
}
