package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run ./internal/gentables

const (
	spaces    = 3    // spaces of numbers on each machine: the columns of its table
	numbers   = 576  // every table number is below; x32 has its own up to 547
	slotCount = 1024 // of a table's hash index
)

// row is one call in a table: its number in each space, -1 where it is none.
type row struct {
	name   string
	number [spaces]int16
}

// space is a range of call numbers that one table column fills.
type space struct {
	arch  specs.Arch // the name in a profile that opens it
	first uint32     // where table number 0 stands
	last  uint32
	wide  bool // arguments are compared in 64 bits
	muxed bool // socket and IPC calls have a second way, socketcall and ipc
}

// abi is what the kernel tells apart by seccomp_data.arch: one AUDIT_ARCH_*
// value and the neighbouring spaces it stands for. The first is open whenever
// the abi is.
type abi struct {
	audit  uint32
	spaces []int
}

// machine is what one kind of host can run; abis[0], spaces[0] is native.
type machine struct {
	rows   []row
	slots  *[slotCount]uint16
	spaces [spaces]space
	abis   []abi
}

var x86Machine = machine{
	rows:  x86Rows,
	slots: &x86Slots,
	spaces: [spaces]space{
		{arch: specs.ArchX86_64, first: 0, last: 0x3fffffff, wide: true},
		{arch: specs.ArchX32, first: 0x40000000, last: 0xffffffff}, // __X32_SYSCALL_BIT
		{arch: specs.ArchX86, first: 0, last: 0xffffffff, muxed: true},
	},
	abis: []abi{{unix.AUDIT_ARCH_X86_64, []int{0, 1}}, {unix.AUDIT_ARCH_I386, []int{2}}},
}

var armMachine = machine{
	rows:  armRows,
	slots: &armSlots,
	spaces: [spaces]space{
		{arch: specs.ArchAARCH64, first: 0, last: 0xffffffff, wide: true},
		{arch: specs.ArchARM, first: 0, last: 0x0effff},
		{arch: specs.ArchARM, first: 0x0f0000, last: 0xffffffff}, // __ARM_NR_BASE
	},
	abis: []abi{{unix.AUDIT_ARCH_AARCH64, []int{0}}, {unix.AUDIT_ARCH_ARM, []int{1, 2}}},
}

// openSpaces reads architectures: the native space and those listed.
func openSpaces(m *machine, listed []specs.Arch) ([spaces]bool, error) {
	open := [spaces]bool{0: true}
	if len(listed) > maxArchs {
		return open, fmt.Errorf("linux.seccomp.architectures: %d entries are more than %d", len(listed), maxArchs)
	}
	for i, arch := range listed {
		here := false
		for s := range m.spaces {
			if m.spaces[s].arch == arch {
				open[s], here = true, true
			}
		}
		if !here && !slices.Contains(Architectures(), string(arch)) {
			return open, fmt.Errorf("linux.seccomp.architectures[%d]: %s is not an architecture", i, quote(arch))
		}
	}
	return open, nil
}

// lookup finds a call in the table, nil if no architecture here has it.
func (m *machine) lookup(name string) *row {
	for s := hashName(name) % slotCount; m.slots[s] != 0; s = (s + 1) % slotCount {
		if r := &m.rows[m.slots[s]-1]; r.name == name {
			return r
		}
	}
	return nil
}

// hashName is FNV-1a, as in internal/gentables.
func hashName(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}

// callName names a number of a space, for error messages.
func (m *machine) callName(space, number int) string {
	for i := range m.rows {
		if int(m.rows[i].number[space]) == number {
			return m.rows[i].name
		}
	}
	return fmt.Sprintf("call %d", number)
}

// muxCode gives, for a call that i386 also reaches through socketcall(2) or
// ipc(2), that call's name and the code of it that goes there (linux/net.h,
// linux/ipc.h).
func muxCode(name string) (by string, code uint64) {
	switch name {
	case "socket":
		return "socketcall", 1
	case "bind":
		return "socketcall", 2
	case "connect":
		return "socketcall", 3
	case "listen":
		return "socketcall", 4
	case "accept":
		return "socketcall", 5
	case "getsockname":
		return "socketcall", 6
	case "getpeername":
		return "socketcall", 7
	case "socketpair":
		return "socketcall", 8
	case "send":
		return "socketcall", 9
	case "recv":
		return "socketcall", 10
	case "sendto":
		return "socketcall", 11
	case "recvfrom":
		return "socketcall", 12
	case "shutdown":
		return "socketcall", 13
	case "setsockopt":
		return "socketcall", 14
	case "getsockopt":
		return "socketcall", 15
	case "sendmsg":
		return "socketcall", 16
	case "recvmsg":
		return "socketcall", 17
	case "accept4":
		return "socketcall", 18
	case "recvmmsg":
		return "socketcall", 19
	case "sendmmsg":
		return "socketcall", 20
	case "semop":
		return "ipc", 1
	case "semget":
		return "ipc", 2
	case "semctl":
		return "ipc", 3
	case "semtimedop":
		return "ipc", 4
	case "msgsnd":
		return "ipc", 11
	case "msgrcv":
		return "ipc", 12
	case "msgget":
		return "ipc", 13
	case "msgctl":
		return "ipc", 14
	case "shmat":
		return "ipc", 21
	case "shmdt":
		return "ipc", 22
	case "shmget":
		return "ipc", 23
	case "shmctl":
		return "ipc", 24
	}
	return "", 0
}
