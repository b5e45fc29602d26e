package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addKernelVerbs adds what asks the kernel directly:
//
//	try-syscall N [ARGS…]    "ok RESULT" or the errno
//	socket FAMILY TYPE [PROTOCOL]
//	tiocsti CHAR             pushes a character into the terminal's input
//	hostname NAME            sethostname(2)
//	dgram ADDRESS            UDP socket bound there
//	links                    names of the network interfaces
//	unshare FLAGS · setns PATH · chroot PATH · setuid UID
//	clock                    CLOCK_MONOTONIC and CLOCK_BOOTTIME in seconds
//	statfs PATH              file system type and mount flags
func addKernelVerbs() {
	verbs["try-syscall"] = trySyscall
	verbs["socket"] = func(a []string) (string, error) {
		fd, err := unix.Socket(number(arg(a, 0, "")), number(arg(a, 1, ""))|unix.SOCK_CLOEXEC, number(arg(a, 2, "0")))
		if err != nil {
			return "", err
		}
		return "ok", unix.Close(fd)
	}
	verbs["tiocsti"] = func(a []string) (string, error) {
		c := arg(a, 0, "x")[0]
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
		if errno != 0 {
			return "", errno
		}
		return "ok", nil
	}
	verbs["hostname"] = func(a []string) (string, error) { return "ok", unix.Sethostname([]byte(arg(a, 0, ""))) }
	verbs["dgram"] = func(a []string) (string, error) {
		c, err := net.ListenPacket("udp", arg(a, 0, "127.0.0.1:0"))
		if err != nil {
			return "", err
		}
		return "ok", c.Close()
	}
	verbs["links"] = links
	verbs["unshare"] = func(a []string) (string, error) {
		runtime.LockOSThread()
		return "ok", unix.Unshare(number(arg(a, 0, "0")))
	}
	verbs["setns"] = setns
	verbs["clock"] = clock
	verbs["statfs"] = statfs
	verbs["chroot"] = func(a []string) (string, error) { return "ok", unix.Chroot(arg(a, 0, "")) }
	verbs["setuid"] = func(a []string) (string, error) { return "ok", unix.Setuid(number(arg(a, 0, ""))) }
}

// trySyscall takes a number and up to six arguments; text arguments (those
// that are no number) are passed as pointers to C strings.
func trySyscall(a []string) (string, error) {
	if len(a) == 0 {
		return "", errArgs
	}
	var v [6]uintptr
	var keep [][]byte
	for i, word := range a[1:min(len(a), 7)] {
		if n := number(word); n != -1 || word == "-1" {
			v[i] = uintptr(n)
			continue
		}
		b := append([]byte(word), 0)
		keep = append(keep, b)
		v[i] = uintptr(unsafe.Pointer(&b[0]))
	}
	r, _, errno := unix.Syscall6(uintptr(number(a[0])), v[0], v[1], v[2], v[3], v[4], v[5])
	runtime.KeepAlive(keep)
	if errno != 0 {
		return "", errno
	}
	return fmt.Sprintf("ok %d", r), nil
}

func links([]string) (string, error) {
	all, err := net.Interfaces()
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " "), err
}

func setns(a []string) (string, error) {
	runtime.LockOSThread()
	f, err := os.Open(arg(a, 0, ""))
	if err != nil {
		return "", err
	}
	defer f.Close()
	return "ok", unix.Setns(int(f.Fd()), 0)
}

func clock([]string) (string, error) {
	var mono, boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono); err != nil {
		return "", err
	}
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	return fmt.Sprintf("%d %d", mono.Sec, boot.Sec), err
}

// statfs prints the mount flags of a path by name (statfs(2), f_flags).
func statfs(a []string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(arg(a, 0, ""), &st); err != nil {
		return "", err
	}
	var on []string
	for _, f := range []struct {
		bit  int64
		name string
	}{
		{unix.ST_RDONLY, "ro"}, {unix.ST_NOSUID, "nosuid"}, {unix.ST_NODEV, "nodev"}, {unix.ST_NOEXEC, "noexec"},
		{unix.ST_NOATIME, "noatime"}, {unix.ST_NODIRATIME, "nodiratime"}, {unix.ST_RELATIME, "relatime"},
		{0x2000, "nosymfollow"}, {unix.ST_SYNCHRONOUS, "sync"},
	} {
		if st.Flags&f.bit != 0 {
			on = append(on, f.name)
		}
	}
	return fmt.Sprintf("%#x %s", st.Type, strings.Join(on, ",")), nil
}
