package seccomp

var host = &armMachine
