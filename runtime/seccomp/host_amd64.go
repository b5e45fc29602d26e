package seccomp

var host = &x86Machine
