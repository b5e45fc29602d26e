package serve

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// programHeader is Elf64_Phdr, elf(5).
type programHeader struct {
	kind, flags                                            uint32
	offset, address, physical, inFile, inMemory, alignment uint64
}

// Of elf(5) and getauxval(3).
const (
	headers, headerCount = 3, 5 // AT_PHDR, AT_PHNUM
	loaded, writable     = 1, 2 // PT_LOAD, PF_W
)

// forgetProgram takes the program's own pages out of this process: what began it is not
// needed again, and what is comes back from the kernel's cache, which all monitors
// share. It has no effect on a program that may be anywhere in memory.
func forgetProgram() {
	all, err := unix.Auxv()
	if err != nil {
		return
	}
	var at unsafe.Pointer
	var count uintptr
	for i, v := range all {
		switch v[0] {
		case headers:
			at = *(*unsafe.Pointer)(unsafe.Pointer(&all[i][1]))
		case headerCount:
			count = v[1]
		}
	}
	if at == nil || unsafe.Sizeof(at) != 8 {
		return
	}
	for _, h := range unsafe.Slice((*programHeader)(at), count) {
		if h.kind == loaded && h.flags&writable == 0 && h.address != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, uintptr(h.address), uintptr(h.inMemory), unix.MADV_DONTNEED)
		}
	}
}
