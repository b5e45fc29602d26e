// Package cgroup puts one container into control groups: it turns the
// linux.resources of an OCI bundle into a list of directories and file writes,
// performs that list, changes it on a living container, freezes, signals,
// measures and removes. Row 2, part of the room runtime.
//
// It is not a policy: which limits a container gets, and below which subtree,
// is the caller's business; it is not a daemon and remembers nothing that is
// not in State.
//
// One table serves all three kernels' layouts. Every controller lives in one
// hierarchy: a v1 mount of its own or the unified (v2) one. What a resource
// becomes is decided for each controller by the place it lives in, so that a
// hybrid host needs no third set of rules.
//
//	Layout ── Detect: which hierarchies are mounted, an O_PATH fd for each
//	   │
//	New ───── Config → places (directories) + writes; pure, see Plan
//	   │
//	Create ── mkdir + writes, undone in reverse on failure
//	   │
//	JoinFDs ─ the first process moves itself (v1) or is born inside (v2)
//	   │
//	Freeze Thaw Kill PIDs Update Stats WatchOOM   (also after Open(State))
//	   │
//	Remove
//
// Sources: Documentation/admin-guide/cgroup-v1/*.rst and cgroup-v2.rst of the
// kernel, the OCI runtime-spec config-linux.md, systemd.resource-control(5).
package cgroup
