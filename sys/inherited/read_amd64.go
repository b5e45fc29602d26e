package inherited

const sysPrlimit64 = 302
