package main

// Code of two static x86-64 programs, by hand, so that what is measured is the
// runtime and not a libc.
var (
	exitCode0    = []byte{0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05} // exit_group(0)
	pauseForever = []byte{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}  // for { pause() }
)

// program puts code behind an ELF header and one program header: elf(5).
func program(code []byte) []byte {
	const base, head = 0x400000, 120
	b := make([]byte, head, head+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	put := func(at, size int, v uint64) {
		for i := range size {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	put(16, 2, 2)    // ET_EXEC
	put(18, 2, 0x3e) // EM_X86_64
	put(20, 4, 1)
	put(24, 8, base+head) // entry
	put(32, 8, 64)        // where the program headers are
	put(52, 2, 64)
	put(54, 2, 56)
	put(56, 2, 1)
	put(64, 4, 1) // PT_LOAD
	put(68, 4, 5) // read, execute
	put(80, 8, base)
	put(88, 8, base)
	put(96, 8, uint64(head+len(code)))
	put(104, 8, uint64(head+len(code)))
	put(112, 8, 0x1000)
	return append(b, code...)
}
