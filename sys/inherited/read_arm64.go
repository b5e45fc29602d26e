package inherited

const sysPrlimit64 = 261
