#include "textflag.h"

// func getrlimit(resource uintptr, out *[2]uint64) int64
TEXT ·getrlimit(SB), NOSPLIT, $0-24
	XORQ DI, DI
	MOVQ resource+0(FP), SI
	XORQ DX, DX
	MOVQ out+8(FP), R10
	MOVQ $302, AX
	SYSCALL
	MOVQ AX, ret+16(FP)
	RET
