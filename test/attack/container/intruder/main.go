// Command intruder is what the attacks of test/attack/container run inside a
// container beside test/bundle/probe: sweeps over the kernel's calls, one deed for
// each capability, frames that lie.
//
// It is static and needs nothing of the root file system. It tells what came of it;
// the tests judge. It belongs to the tests, outside the rows.
//
//	intruder sweep 64|x32|i386 COUNT   every call number below COUNT with arguments of -1
//	intruder caps                      a deed for each capability that one shows the lack of
//	intruder frame DEVICE HEX…         sends frames as they are
//	intruder dial NETWORK ADDRESS      "open", or the error
//	intruder lookup NAME               its addresses, or the error
//	intruder key-add NAME              puts a key into the session keyring, prints its number, stays
//	intruder key-find NAME NUMBER      looks for it by name, and reads it by number
//	intruder wipe TIOCLINUX|TIOCSTI    puts words into the terminal at standard input
//	intruder trace PID                 "traced", or the error
//	intruder reach                     those of the paths on standard input that it can open
//	intruder euid                      the effective user
//	intruder flood ADDRESS COUNT       opens connections to a monitor's socket and writes to each
//	intruder hold ADDRESS COUNT        opens them and waits: how many are not closed from there
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	out, err := do(os.Args[1:])
	if err != nil {
		fmt.Println(name(err))
		os.Exit(1)
	}
	fmt.Println(out)
}

func do(a []string) (string, error) {
	if len(a) == 0 {
		return "", errors.New("which deed?")
	}
	a = append(a, "", "", "") // what is missing is empty
	switch a[0] {
	case "sweep":
		return sweep(a[1], number(a[2]))
	case "sweep-part":
		return "", sweepPart(a[1], number(a[2]), number(a[3]))
	case "caps":
		return deeds(), nil
	case "frame":
		return "ok", frames(a[1], a[2:])
	case "dial":
		address := a[2]
		if strings.HasPrefix(address, "/") { // a socket's path, longer than sun_path
			if err := os.Chdir(filepath.Dir(address)); err != nil {
				return "", err
			}
			address = filepath.Base(address)
		}
		c, err := net.DialTimeout(a[1], address, 2*time.Second)
		if err != nil {
			return "", err
		}
		return "open", c.Close()
	case "lookup":
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		all, err := net.DefaultResolver.LookupHost(ctx, a[1])
		return strings.Join(all, " "), err
	case "key-add":
		n, err := unix.AddKey("user", a[1], []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
		if err == nil {
			fmt.Println(n)
			time.Sleep(time.Hour)
		}
		return "", err
	case "key-find":
		return keyFind(a[1], number(a[2])), nil
	case "trace":
		runtime.LockOSThread() // which traces, and with its end lets go
		return "traced", unix.PtraceSeize(number(a[1]))
	case "wipe":
		return "ok", wipe(a[1])
	case "euid":
		return strconv.Itoa(os.Geteuid()), nil
	case "reach":
		return reach(), nil
	case "flood":
		return flood(a[1], number(a[2])), nil
	case "hold":
		return strconv.Itoa(hold(a[1], number(a[2]))), nil
	}
	return "", fmt.Errorf("no deed %q", a[0])
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

// name is an errno's where there is one.
func name(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if s := unix.ErrnoName(errno); s != "" {
			return s
		}
		return "errno " + strconv.Itoa(int(errno))
	}
	return err.Error()
}

func frames(device string, list []string) error {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, text := range list {
		frame, err := hex.DecodeString(text)
		if err != nil || len(frame) == 0 {
			continue
		}
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
			return err
		}
	}
	return nil
}

func keyFind(key string, id int) string {
	var all []string
	if _, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", key, 0); err == nil {
		all = append(all, "found by name")
	}
	if n, err := unix.RequestKey("user", key, "", 0); err == nil {
		all = append(all, "requested "+strconv.Itoa(n))
	}
	buf := make([]byte, 64)
	if n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0); err == nil {
		all = append(all, "read "+string(buf[:min(n, 64)]))
	}
	return strings.Join(all, ", ")
}

// wipe is ioctl_tiocsti(2) and TIOCLINUX's paste of the selection, ioctl_console(2).
func wipe(how string) error {
	request, b := uintptr(unix.TIOCSTI), byte('x')
	if how == "TIOCLINUX" {
		request, b = 0x541c, 3
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, request, uintptr(unsafe.Pointer(&b))); errno != 0 {
		return errno
	}
	return nil
}

// reach opens files to read, and connects to sockets.
func reach() string {
	var all []string
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		path := lines.Text()
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		if err == nil || err == unix.ENXIO { // a socket is not opened
			all = append(all, path)
		}
	}
	return strings.Join(all, "\n")
}

// flood holds as many connections as it gets, and writes what no request is.
func flood(path string, count int) string {
	var held []net.Conn
	refused := ""
	if err := os.Chdir(filepath.Dir(path)); err != nil {
		return name(err)
	}
	for range count {
		c, err := net.DialTimeout("unixpacket", filepath.Base(path), time.Second)
		if err != nil {
			refused = name(err)
			break
		}
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = c.Write([]byte(strings.Repeat("\xff", 4096)))
		held = append(held, c)
	}
	time.Sleep(time.Second)
	for _, c := range held {
		_ = c.Close()
	}
	return fmt.Sprintf("%d %s", len(held), refused)
}

// hold opens connections, says nothing, and counts those that were not closed.
func hold(path string, count int) (open int) {
	if err := os.Chdir(filepath.Dir(path)); err != nil {
		return 0
	}
	var held []net.Conn
	for end := time.Now().Add(20 * time.Second); len(held) < count && time.Now().Before(end); {
		c, err := net.DialTimeout("unixpacket", filepath.Base(path), time.Second)
		if errors.Is(err, unix.EAGAIN) { // it has not accepted the last ones yet
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			break
		}
		held = append(held, c)
	}
	time.Sleep(time.Second)
	for _, c := range held {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	return open
}
