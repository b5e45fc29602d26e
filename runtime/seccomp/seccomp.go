// Package seccomp compiles the seccomp profile of an OCI configuration
// (linux.seccomp) into the classic BPF program that the kernel runs at each
// syscall. It is not the part that installs the program (runtime/initproc
// does), it holds no default profile, and it knows no capabilities or kernel
// versions: whoever writes the configuration has settled those. Row 2.
//
// The program, for a profile of x86_64, x32 and i386:
//
//	ld   arch
//	jeq  AUDIT_ARCH_X86_64 ──no──┐
//	ld   nr                      │    native first: one test
//	┌─ search tree ─┐            │    numbers 0 … x86_64 calls
//	│  jge  n       │            │    … tail: newer ones, ENOSYS
//	│  jeq  n       │            │    0x40000000 … x32 calls, or bad arch
//	└───────────────┘            │
//	argument chains              │    ld args[i]; jeq jge jset
//	jeq  AUDIT_ARCH_I386 ←───────┘─no─┐
//	ld   nr … tree, chains            │
//	ret  …   one of each verdict  ←───┘ bad arch: kill the thread
//
// The tree is built over runs of neighbouring numbers with one verdict, not
// over single calls, so an allow-list of 350 calls needs about 100 tests; only
// instructions that the kernel's cache of constant verdicts can follow are used
// for calls without argument rules (seccomp_is_const_allow in kernel/seccomp.c).
// Instructions are laid down from the end of the program to its start, so every
// jump knows its distance at once; one too far for eight bits gets a copy of the
// verdict, or a long jump, right behind it.
//
// # What a profile means
//
// The meaning is runc's, which is libseccomp's with a tail of its own:
//
//   - The native architecture always counts; others of this machine when listed.
//     Known names of foreign machines are accepted and change nothing. A call of
//     an architecture that is not listed kills its thread. On x86_64 that holds
//     for x32 calls too, but not for number -1, a call that a tracer cancelled:
//     it gets the default action.
//   - Names unknown to every architecture here are skipped; a name known to one
//     of them acts there alone.
//   - Rules of one call are alternatives; conditions of one rule hold together.
//     A rule with two conditions on one argument becomes one rule for each of its
//     conditions (runc's way: they are alternatives too).
//   - A rule whose action is the default action is dropped before anything else.
//   - A rule without conditions beats all rules with conditions; of several the
//     first counts.
//   - Where rules of several actions match, the more special is first: a higher
//     argument before a lower, =, ≠ and masks before < and ≤ before > and ≥, then
//     the tighter bound, then the next condition. Of a rule and one that only adds
//     conditions to it, the shorter wins if it comes first; the other order, and
//     the same conditions with two actions, are errors.
//   - 32-bit architectures, x32 too, compare the low halves alone.
//   - On i386 a rule for a socket or System V IPC call counts for the call's own
//     number and for socketcall(2) or ipc(2) with that call's code. There argument
//     0 is the code: a condition on it is lost, and the others see socketcall's
//     own arguments, a pointer. So a profile cannot filter i386 sockets by family.
//   - The tail: unless the default action lets calls through (ALLOW, LOG, TRACE),
//     a number above the newest call that the profile names for that architecture
//     returns ENOSYS, so that a C library falls back to older calls.
//
// On purpose it is not runc's where that loses a rule: libseccomp's merged trees
// drop some alternatives (bounds on one 64-bit argument, ≠ next to a second
// condition) and misread i386 filters that start with a multiplexed call; and a
// profile that names socket for i386 counts that call, 359, as its newest. ARM's
// private calls (from 0x0f0000) have a tail apart from the others. An errno for an
// action that returns none is an error, as the specification demands.
//
// Sources: config-linux.md of the OCI runtime specification 1.3, section Seccomp;
// seccomp(2); seccomp_rule_add(3).
package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Limits on a profile, far above any in use, so that a hostile one fails fast.
const (
	maxArchs    = 64      // linux.seccomp.architectures
	maxNames    = 1 << 16 // linux.seccomp.syscalls[*].names in all
	maxArgs     = 32      // linux.seccomp.syscalls[i].args
	maxArgRules = 1 << 16 // pairs of a call's number and a rule with conditions
)

// Filter is a program to install with seccomp(SECCOMP_SET_MODE_FILTER).
type Filter struct {
	Insns []unix.SockFilter // 1 to 4096 instructions
	Flags uint32            // SECCOMP_FILTER_FLAG_*, with NEW_LISTENER if Notify
	// Notify: some rule has SCMP_ACT_NOTIFY, so seccomp(2) returns a listener
	// that must be sent to the profile's listenerPath.
	Notify bool
}

// Compile turns a profile into a program. It is pure: same profile, same
// program, no privilege needed. A nil profile, or one with neither a default
// action nor rules, means no filter: nil, nil. Every error names the field.
func Compile(p *specs.LinuxSeccomp) (*Filter, error) {
	if p == nil || p.DefaultAction == "" && len(p.Syscalls) == 0 {
		return nil, nil
	}
	return compileFor(host, p)
}

func compileFor(m *machine, p *specs.LinuxSeccomp) (*Filter, error) {
	if len(m.abis) == 0 {
		return nil, fmt.Errorf("linux.seccomp: this architecture has no syscall table in berth")
	}
	c := &compiler{machine: m, profile: p}
	f := &Filter{}
	var err error
	if c.otherwise, err = defaultAction(p); err != nil {
		return nil, err
	}
	if c.open, err = openSpaces(m, p.Architectures); err != nil {
		return nil, err
	}
	for i := range p.Syscalls {
		if p.Syscalls[i].Action == specs.ActNotify {
			f.Notify = true
		}
	}
	if f.Flags, err = filterFlags(p, f.Notify); err != nil {
		return nil, err
	}
	if err := checkListener(p, f.Notify); err != nil {
		return nil, err
	}
	if err := c.collect(); err != nil {
		return nil, err
	}
	if f.Insns, err = c.assemble(); err != nil {
		return nil, err
	}
	return f, nil
}

// defaultAction reads defaultAction and defaultErrnoRet.
func defaultAction(p *specs.LinuxSeccomp) (uint32, error) {
	if p.DefaultAction == specs.ActNotify {
		return 0, fmt.Errorf("linux.seccomp.defaultAction: %s cannot be the default: init itself must get past the filter", specs.ActNotify)
	}
	verdict, ok := actionVerdict(p.DefaultAction)
	if !ok {
		return 0, fmt.Errorf("linux.seccomp.defaultAction: %s is not an action", quote(p.DefaultAction))
	}
	verdict, problem := withErrno(verdict, p.DefaultErrnoRet)
	if problem != "" {
		return 0, fmt.Errorf("linux.seccomp.defaultErrnoRet: %d %s", *p.DefaultErrnoRet, problem)
	}
	return verdict, nil
}

// withErrno puts the number that goes with ERRNO and TRACE, EPERM unless given,
// into the verdict; a problem is the end of a sentence that starts with it.
func withErrno(verdict uint32, ret *uint) (uint32, string) {
	takes := verdict == unix.SECCOMP_RET_ERRNO || verdict == unix.SECCOMP_RET_TRACE
	switch {
	case ret == nil && takes:
		return verdict | uint32(unix.EPERM), ""
	case ret == nil:
		return verdict, ""
	case !takes:
		return 0, "is set, but the action returns no errno"
	case *ret > unix.SECCOMP_RET_DATA:
		return 0, "is out of range 0–65535"
	}
	return verdict | uint32(*ret), ""
}

// refuses reports whether a verdict keeps calls out. TRACE does not: the tracer
// decides, and answers for calls it does not know.
func refuses(verdict uint32) bool {
	switch verdict & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return false
	}
	return true
}

// filterFlags reads flags. A profile that says nothing of them gets SPEC_ALLOW,
// as with runc: the mitigation costs more than it gives on today's kernels. An
// empty list means no flags.
func filterFlags(p *specs.LinuxSeccomp, notify bool) (uint32, error) {
	var flags uint32
	if p.Flags == nil {
		flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for i, name := range p.Flags {
		flag, ok := flagBit(name)
		if !ok {
			return 0, fmt.Errorf("linux.seccomp.flags[%d]: %s is not a known flag", i, quote(name))
		}
		if flag == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV && !notify {
			return 0, fmt.Errorf("linux.seccomp.flags[%d]: %s needs a rule with %s", i, name, specs.ActNotify)
		}
		flags |= flag
	}
	if notify {
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	return flags, nil
}

// checkListener checks what SCMP_ACT_NOTIFY needs. Without it listenerPath is
// ignored, as the specification says.
func checkListener(p *specs.LinuxSeccomp, notify bool) error {
	if p.ListenerMetadata != "" && p.ListenerPath == "" {
		return fmt.Errorf("linux.seccomp.listenerMetadata: is set without listenerPath")
	}
	if !notify {
		return nil
	}
	if p.ListenerPath == "" {
		return fmt.Errorf("linux.seccomp.listenerPath: %s needs one", specs.ActNotify)
	}
	for i := range p.Syscalls {
		if p.Syscalls[i].Action != specs.ActNotify {
			continue
		}
		for j, name := range p.Syscalls[i].Names {
			if name == "write" {
				return fmt.Errorf("linux.seccomp.syscalls[%d].names[%d]: write cannot have %s: init must write before anyone listens", i, j, specs.ActNotify)
			}
		}
	}
	return nil
}
