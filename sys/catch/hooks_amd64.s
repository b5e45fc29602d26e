#include "textflag.h"

// func handlers() (handler, restorer uintptr)
TEXT ·handlers(SB),NOSPLIT,$0-16
	LEAQ	·handler(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	·restorer(SB), AX
	MOVQ	AX, restorer+8(FP)
	RET

// The handler, in C's convention, on any thread, in the middle of anything:
// pending |= 1 << (signal - 1), then write(wake, &one, 8).
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	DI, CX
	DECL	CX
	MOVL	$1, AX
	SHLQ	CX, AX
	LOCK
	ORQ	AX, ·pending(SB)
	MOVL	·wake(SB), DI
	LEAQ	·one(SB), SI
	MOVL	$8, DX
	MOVL	$1, AX // write
	SYSCALL
	RET

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3
