package devfilter

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The attr unions of bpf(2), as far as used (linux/bpf.h).
type (
	attrLoad struct {
		progType, insnCount        uint32
		insns, license             uint64
		logLevel, logSize          uint32
		logBuf                     uint64
		kernVersion, flags         uint32
		name                       [16]byte
		ifindex, expectedAttachTyp uint32
	}
	attrAttach struct {
		target, prog, attachType, flags, replace uint32
	}
	attrQuery struct {
		target, attachType, queryFlags, attachFlags uint32
		ids                                         uint64
		count, _                                    uint32
	}
	attrInfo struct {
		fd, size uint32
		info     uint64
	}
)

const (
	progTypeDevice   = 15 // BPF_PROG_TYPE_CGROUP_DEVICE
	attachTypeDevice = 6  // BPF_CGROUP_DEVICE
	allowMulti       = 2  // BPF_F_ALLOW_MULTI
	replace          = 4  // BPF_F_REPLACE, Linux 5.6

	// progName marks our programs among those of systemd.
	progName = "berth_dev"

	maxPrograms = 64 // BPF_CGROUP_MAX_PROGS
)

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for range 16 {
		r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		if e == 0 {
			return int(r), nil
		}
		// EAGAIN: the verifier was interrupted by a signal.
		if e != unix.EINTR && e != unix.EAGAIN {
			return -1, e
		}
	}
	return -1, unix.EAGAIN
}

// loadProgram gives the program to the kernel and returns its descriptor (always
// close-on-exec).
func loadProgram(p []insn) (int, error) {
	license := []byte("Apache-2.0\x00")
	// Addresses inside attr are numbers to the compiler: pinned, they stay.
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&p[0])
	pin.Pin(&license[0])
	a := attrLoad{
		progType: progTypeDevice, insnCount: uint32(len(p)),
		insns: uint64(uintptr(unsafe.Pointer(&p[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
		expectedAttachTyp: attachTypeDevice,
	}
	copy(a.name[:], progName)
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err != nil {
		return -1, fmt.Errorf("load device program of %d instructions: %w", len(p), err)
	}
	return fd, nil
}

// Attach makes rules hold for the v2 cgroup of which dir is an open descriptor,
// and for all below it. It takes the place of what an earlier Attach put there;
// programs of others (systemd) stay, and an access needs the consent of all.
// There is no moment without a filter: the new program replaces the old one, or
// stands beside it before the old one goes. Errors: bpf(2).
func Attach(dir int, rules []Rule) error {
	old, err := ours(dir)
	if err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	defer closeAll(old)
	return swap(dir, old, Program(rules))
}

// AttachFresh is Attach for a cgroup that was just made: no look for an older one.
func AttachFresh(dir int, rules []Rule) error {
	return swap(dir, nil, Program(rules))
}

func swap(dir int, old []int, p []insn) error {
	if p != nil {
		fd, err := loadProgram(p)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		a := attrAttach{target: uint32(dir), prog: uint32(fd), attachType: attachTypeDevice, flags: allowMulti}
		if len(old) == 1 {
			a.flags, a.replace = allowMulti|replace, uint32(old[0])
		}
		if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
			return fmt.Errorf("attach device program: %w", err)
		}
		if len(old) == 1 {
			return nil
		}
	}
	for _, fd := range old {
		a := attrAttach{target: uint32(dir), prog: uint32(fd), attachType: attachTypeDevice}
		if _, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
			return fmt.Errorf("detach old device program: %w", err)
		}
	}
	return nil
}

// ours returns descriptors of the programs that Attach put on dir.
func ours(dir int) ([]int, error) {
	ids := make([]uint32, maxPrograms)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&ids[0])
	q := attrQuery{target: uint32(dir), attachType: attachTypeDevice, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: maxPrograms}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&q), unsafe.Sizeof(q)); err != nil {
		return nil, fmt.Errorf("query device programs: %w", err)
	}
	var out []int
	for _, id := range ids[:min(q.count, maxPrograms)] {
		a := [3]uint32{id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&a), unsafe.Sizeof(a))
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("open device program %d: %w", id, err)
		}
		name, err := nameOf(fd)
		if err != nil || name != progName {
			unix.Close(fd)
			continue
		}
		out = append(out, fd)
	}
	return out, nil
}

func nameOf(fd int) (string, error) {
	info := make([]byte, 128) // struct bpf_prog_info up to and with name
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&info[0])
	a := attrInfo{fd: uint32(fd), size: uint32(len(info)), info: uint64(uintptr(unsafe.Pointer(&info[0])))}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
		return "", err
	}
	name := info[64:80]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return string(name), nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Attached counts the programs that Attach put on the cgroup.
func Attached(dir int) (int, error) {
	fds, err := ours(dir)
	closeAll(fds)
	return len(fds), err
}
