#include "textflag.h"

// func vclone(args *cloneArgs, size uintptr) (pid uintptr, errno syscall.Errno)
//
// Parent and child return on one stack, the child first. The return address is
// the only word of it that both use, so it waits in a register, which the
// kernel gives back to each.
TEXT ·vclone(SB),NOSPLIT|NOFRAME,$0-32
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVL	$435, AX // clone3
	POPQ	R12
	SYSCALL
	PUSHQ	R12
	XORL	CX, CX
	CMPQ	AX, $-4095
	JCS	done
	MOVQ	AX, CX
	NEGQ	CX
	XORL	AX, AX
done:
	MOVQ	AX, pid+16(FP)
	MOVQ	CX, errno+24(FP)
	RET
