package initproc

// The steps, in the order in which a container's first process takes them. An
// exec into a running container takes the same steps less the root's.
//
//	first of all           Streams
//	before pivot_root      OpenRoot · Mount · Device · DevLinks · Console
//	                       Sync(createRuntime) · Hooks(createContainer)
//	pivot_root             PivotRoot
//	inside the new root    Sysctl · ReadonlyPath · MaskPaths · RootPropagation · RootReadonly
//	the process itself     Hostname · Keyring · Scheduler · IOPriority · Personality · Affinity · Rlimits ·
//	                       OOMScore · MemoryPolicy · Label · Umask
//	wait for start         LookPath · WaitStart · Hooks(startContainer)
//	last                   Seccomp/NoNewPrivileges · Identity (ids and capabilities) · Workdir · Exec
const (
	_ op = iota // no step has number 0

	// core (perform.go, exec.go)
	opSync
	opWaitStart
	opLookPath
	opEnterCgroup
	opExec
	opWorkdir

	// the root (root*.go)
	opOpenRoot
	opMount
	opDevice
	opDevLinks
	opPivotRoot
	opMaskPaths
	opReadonlyPath
	opRootPropagation
	opRootReadonly
	opMakeWorkdir

	// the process (attr*.go)
	opHostname
	opSysctl
	opKeyring
	opRlimits
	opScheduler
	opIOPriority
	opPersonality
	opAffinity
	opMemoryPolicy
	opLabel
	opUmask
	opSeccomp
	opNoNewPrivileges
	opIdentity
	opConsole
	opHooks
	opStreams
	opStdio
	opSetsid
	opHome
	opLoopback
	opAccount
)

// newStep makes an empty step to decode into; nil for an unknown op.
func newStep(o op) Step {
	switch o {
	case opSync:
		return new(Sync)
	case opWaitStart:
		return new(WaitStart)
	case opLookPath:
		return new(LookPath)
	case opEnterCgroup:
		return new(EnterCgroup)
	case opExec:
		return new(Exec)
	case opWorkdir:
		return new(Workdir)
	case opAccount:
		return new(Account)
	case opHome:
		return new(Home)
	case opLoopback:
		return new(Loopback)
	}
	if s := newRootStep(o); s != nil {
		return s
	}
	return newAttrStep(o)
}
