package seccomp

import (
	"strconv"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// flagTsync is in the specification's text but not in its Go package.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// Actions lists the recognised actions in order of names, for `features`.
func Actions() []string {
	return []string{
		string(specs.ActAllow), string(specs.ActErrno), string(specs.ActKill), string(specs.ActKillProcess),
		string(specs.ActKillThread), string(specs.ActLog), string(specs.ActNotify), string(specs.ActTrace), string(specs.ActTrap),
	}
}

// Operators lists the recognised operators in order of names, for `features`.
func Operators() []string {
	return []string{
		string(specs.OpEqualTo), string(specs.OpGreaterEqual), string(specs.OpGreaterThan), string(specs.OpLessEqual),
		string(specs.OpLessThan), string(specs.OpMaskedEqual), string(specs.OpNotEqual),
	}
}

// Architectures lists the recognised architectures in order of names, for
// `features`: every one of the specification. Those of other machines are
// accepted and have no effect.
func Architectures() []string {
	return []string{
		string(specs.ArchAARCH64), string(specs.ArchARM), string(specs.ArchLOONGARCH64), string(specs.ArchM68K),
		string(specs.ArchMIPS), string(specs.ArchMIPS64), string(specs.ArchMIPS64N32), string(specs.ArchMIPSEL),
		string(specs.ArchMIPSEL64), string(specs.ArchMIPSEL64N32), string(specs.ArchPARISC), string(specs.ArchPARISC64),
		string(specs.ArchPPC), string(specs.ArchPPC64), string(specs.ArchPPC64LE), string(specs.ArchRISCV64),
		string(specs.ArchS390), string(specs.ArchS390X), string(specs.ArchSH), string(specs.ArchSHEB),
		string(specs.ArchX32), string(specs.ArchX86), string(specs.ArchX86_64),
	}
}

// KnownFlags lists the recognised flags in order of names, for `features`.
func KnownFlags() []string {
	return []string{
		string(specs.LinuxSeccompFlagLog), string(specs.LinuxSeccompFlagSpecAllow),
		string(flagTsync), string(specs.LinuxSeccompFlagWaitKillableRecv),
	}
}

// SupportedFlags lists those of KnownFlags that the running kernel takes. It
// asks seccomp(2) with a null program, which changes nothing: EFAULT means that
// the flag was understood.
func SupportedFlags() []string {
	var supported []string
	for _, name := range KnownFlags() {
		bit, _ := flagBit(specs.LinuxSeccompFlag(name))
		switch {
		case name == string(flagTsync):
			bit = unix.SECCOMP_FILTER_FLAG_TSYNC
		case bit == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV:
			bit |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(bit), uintptr(unsafe.Pointer(nil)))
		if errno == unix.EFAULT {
			supported = append(supported, name)
		}
	}
	return supported
}

// flagBit is the bit that a flag sets. TSYNC sets none: init is one thread when
// it installs the filter, and the kernel refuses it together with a listener.
func flagBit(name specs.LinuxSeccompFlag) (uint32, bool) {
	switch name {
	case flagTsync:
		return 0, true
	case specs.LinuxSeccompFlagLog:
		return unix.SECCOMP_FILTER_FLAG_LOG, true
	case specs.LinuxSeccompFlagSpecAllow:
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, true
	case specs.LinuxSeccompFlagWaitKillableRecv:
		return unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, true
	}
	return 0, false
}

// actionVerdict is the return value of a filter for an action, without errno.
func actionVerdict(name specs.LinuxSeccompAction) (uint32, bool) {
	switch name {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, true
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO, true
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, true
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, true
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, true
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, true
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE, true
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, true
	}
	return 0, false
}

// operator is how a condition compares. The order is the order of precedence
// among rules that start with the same argument: group, then value.
type operator uint8

const (
	opEqual operator = iota
	opMasked
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

func parseOperator(name specs.LinuxSeccompOperator) (operator, bool) {
	switch name {
	case specs.OpEqualTo:
		return opEqual, true
	case specs.OpMaskedEqual:
		return opMasked, true
	case specs.OpNotEqual:
		return opNotEqual, true
	case specs.OpLessThan:
		return opLess, true
	case specs.OpLessEqual:
		return opLessEqual, true
	case specs.OpGreaterThan:
		return opGreater, true
	case specs.OpGreaterEqual:
		return opGreaterEqual, true
	}
	return 0, false
}

// quote puts a foreign word into an error, cut so that the error stays a line.
func quote[word ~string](w word) string {
	if len(w) > 64 {
		return strconv.Quote(string(w[:64])) + "…"
	}
	return strconv.Quote(string(w))
}
