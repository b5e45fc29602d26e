#include "textflag.h"

// func int80(n uint32) uint32
// The 32-bit door of the kernel, all arguments -1.
TEXT ·int80(SB), NOSPLIT, $0-12
	MOVL	n+0(FP), AX
	MOVL	$-1, BX
	MOVL	$-1, CX
	MOVL	$-1, DX
	MOVL	$-1, SI
	MOVL	$-1, DI
	PUSHQ	BP
	MOVL	$-1, BP
	INT	$0x80
	POPQ	BP
	MOVL	AX, ret+8(FP)
	RET
