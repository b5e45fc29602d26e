package resolver

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/names"
	"berth/network/nft"
	"berth/sys/fdpass"
)

// Listen makes the sockets of a server in the namespace that the thread is
// in, on ports that nobody asks for, and rules that lead there.
func Listen() (fds []int, err error) {
	defer func() {
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			fds = nil
		}
	}()
	server := netip.MustParseAddr(names.Server)
	t := nft.Turns{Server: server, Asked: names.Port}
	for _, one := range []struct {
		kind int
		port *uint16
	}{{unix.SOCK_DGRAM, &t.UDP}, {unix.SOCK_STREAM, &t.TCP}} {
		fd, err := unix.Socket(unix.AF_INET, one.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fds, os.NewSyscallError("socket", err)
		}
		fds = append(fds, fd)
		if err := unix.BindToDevice(fd, "lo"); err != nil { // whatever the container's routes say
			return fds, os.NewSyscallError("setsockopt", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: server.As4()}); err != nil {
			return fds, os.NewSyscallError("bind", err)
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			return fds, os.NewSyscallError("getsockname", err)
		}
		*one.port = uint16(at.(*unix.SockaddrInet4).Port)
	}
	if err := unix.Listen(fds[1], 64); err != nil {
		return fds, os.NewSyscallError("listen", err)
	}
	c, err := nft.Open(nft.NamesTable, "")
	if err != nil {
		return fds, err
	}
	defer c.Close()
	return fds, c.Turn(t)
}

// Sockets is the folder of the resolvers' sockets, by network.
const Sockets = "resolvers"

// HandOver gives a container's sockets and process to the resolver of a network, which
// begin starts if there is none: it gives a socket to a process of the helper's word
// "names". The caller holds the network's lock, which keeps that one from leaving
// meanwhile. What it returns hangs up when the resolver is lost.
func (f Files) HandOver(home, container string, fds []int, begin func() (*os.File, error)) (*os.File, error) {
	path := filepath.Join(f.Run, Sockets)
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(path, 0o700); err == nil {
			dir, err = os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// The folder's path may be longer than sun_path.
	at := &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + home}
	conn, err := dialNames(at)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		if err := f.start(home, at, begin); err != nil {
			return nil, err
		}
		conn, err = dialNames(at)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the resolver of network %s: %w", home, err)
	}
	if err := fdpass.Send(int(conn.Fd()), names.Encode(&names.Sandbox{Container: container}), fds...); err != nil {
		conn.Close()
		return nil, fmt.Errorf("speak with the resolver of network %s: %w", home, err)
	}
	return conn, nil
}

func dialNames(at *unix.SockaddrUnix) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, at); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "resolver"), nil
}

// start starts a resolver that listens on a socket which is there when it
// returns. The caller holds the network's lock.
func (f Files) start(home string, at *unix.SockaddrUnix, begin func() (*os.File, error)) error {
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(listener)
	path := filepath.Join(f.Run, Sockets, home)
	if err := remove(path); err != nil { // of one that is gone
		return err
	}
	if err := unix.Bind(listener, at); err != nil {
		return &os.PathError{Op: "bind", Path: path, Err: err}
	}
	if err := unix.Listen(listener, 128); err != nil {
		return os.NewSyscallError("listen", err)
	}
	lock, err := os.Open(filepath.Join(f.Run, "locks", home))
	if err != nil {
		return err
	}
	defer lock.Close()
	dir, err := os.Open(filepath.Join(f.Run, Folder))
	if err != nil {
		return err
	}
	defer dir.Close()
	sock, err := begin()
	if err != nil {
		return err
	}
	defer sock.Close()
	o := names.Order{Boot: f.Boot, Conf: resolvConf, OOMScoreAdj: -999}
	if err := fdpass.Send(int(sock.Fd()), names.Encode(&o), listener, int(lock.Fd()), int(dir.Fd())); err != nil {
		return fault.New(fault.Unavailable, "start the resolver of network %s: %w", home, err)
	}
	return nil
}

// resolvConf names the host's servers.
const resolvConf = "/etc/resolv.conf"
