package oci

import "berth/cli/oci/cmdline"

const about = `berth-oci starts containers from OCI bundles and looks after them. It takes the
commands and flags of runc, so that Docker, containerd and Podman can use it in
runc's place.

A bundle is a folder with a file config.json and, as a rule, a root file system.
"berth-oci spec" writes a config.json to begin with:

   # berth-oci run -b BUNDLE CONTAINER

CONTAINER is the name of the new container, unique below --root: letters, digits
and the signs _ + - and dot.`

// program describes the command line for help, manual and completions.
func program() *cmdline.Program {
	global := cmdline.NewSet()
	new(globals).flags(global)
	p := &cmdline.Program{Name: Name, Summary: "run containers from OCI bundles", About: about, Flags: global.List}
	for _, v := range verbs() {
		set := cmdline.NewSet()
		v.new().flags(set)
		p.Verbs = append(p.Verbs, cmdline.Verb{
			Name: v.name, Summary: v.summary, Args: v.args, About: v.about, Hidden: v.hidden, Flags: set.List,
		})
	}
	return p
}
