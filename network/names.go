package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
	"berth/network/names"
	"berth/network/nft"
	"berth/sys/fdpass"
	"berth/sys/netlink"
)

// NameServer is where containers on networks that people made ask for names.
const NameServer = names.Server

// Naming is what a container is called by, and whom it asks, besides what its
// endpoints say.
type Naming struct {
	Hostname string `json:"hostname,omitempty"`
	// Servers are asked for what the networks do not know; none: the host's.
	Servers []netip.Addr `json:"servers,omitempty"`
	// Dotted: for names of one word no server is asked.
	Dotted bool `json:"dotted,omitempty"`
}

// Named reports whether containers have names on the network: on all that people
// made, as with Docker.
func (a *Attached) Named() bool { return a.Network != Default }

// Named reports whether any of the container's networks has names.
func (a *Attachment) Named() bool { return named(a.Endpoints) }

func named(list []Attached) bool {
	return slices.ContainsFunc(list, func(a Attached) bool { return a.Named() })
}

// namesFolder is what a resolver reads; its files are open to all who come that far,
// as a resolver is nobody.
const namesFolder = "names"

func (s *folder) entryPath(network, container string) string {
	return filepath.Join(s.run, namesFolder, names.On, network, container)
}

func (s *folder) viewPath(container string) string {
	return filepath.Join(s.run, namesFolder, names.Views, container)
}

// write writes a container's endpoint file and its files of names; was is what it had
// before, may be nil. Killed in the middle, it leaves no name that nobody takes away.
func (s *folder) write(e, was *endpointFile) error {
	if was != nil {
		for _, a := range was.Endpoints {
			if a.Named() && e.on(a.NetworkID) == nil {
				if err := remove(s.entryPath(a.NetworkID, e.Container)); err != nil {
					return err
				}
			}
		}
	}
	if err := s.put("endpoints", e.Container, e); err != nil {
		return fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	if e.State != stateUp {
		return nil
	}
	for i := range e.Endpoints {
		if a := &e.Endpoints[i]; a.Named() {
			if err := openFile(s.entryPath(a.NetworkID, e.Container), s.entry(e, a)); err != nil {
				return fmt.Errorf("write the names of %s: %w", e.Container, err)
			}
		}
	}
	if !named(e.Endpoints) && e.Resolver == "" {
		return remove(s.viewPath(e.Container))
	}
	if err := openFile(s.viewPath(e.Container), s.view(e)); err != nil {
		return fmt.Errorf("write the names of %s: %w", e.Container, err)
	}
	return nil
}

// retract removes the files of names of a container.
func (s *folder) retract(e *endpointFile) error {
	for _, a := range e.Endpoints {
		if a.Named() {
			if err := remove(s.entryPath(a.NetworkID, e.Container)); err != nil {
				return err
			}
		}
	}
	return remove(s.viewPath(e.Container))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openFile writes a file that all may read, in a folder that all may list.
func openFile(path, text string) error {
	const perm = 0o644
	err := atomicfile.Write(path, []byte(text), perm)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := openFolder(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(text), perm)
}

// openFolder makes a folder that all may list, whatever the umask.
func openFolder(path string) error {
	if err := os.Mkdir(path, 0o755); errors.Is(err, fs.ErrNotExist) {
		if err := openFolder(filepath.Dir(path)); err != nil {
			return err
		}
		return openFolder(path)
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if filepath.Base(path) == namesFolder || filepath.Base(filepath.Dir(path)) == namesFolder || filepath.Base(filepath.Dir(path)) == names.On {
		return os.Chmod(path, 0o755)
	}
	return nil
}

// entry is the container for others on a network, under the names that Docker gives
// it.
func (s *folder) entry(e *endpointFile, a *Attached) string {
	n := names.Entry{Boot: s.boot}
	for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
		if p.IsValid() {
			n.Addresses = append(n.Addresses, p.Addr().String())
		}
	}
	all := append([]string{e.Name}, a.Aliases...)
	all = append(all, e.Container[:min(12, len(e.Container))], e.Naming.Hostname)
	for _, name := range all {
		if name != "" && !slices.Contains(n.Names, name) {
			n.Names = append(n.Names, name)
		}
	}
	return n.Text()
}

// view is what the container may know of others.
func (s *folder) view(e *endpointFile) string {
	v := names.View{Boot: s.boot, Dotted: e.Naming.Dotted}
	for _, a := range e.Naming.Servers {
		v.Servers = append(v.Servers, a.String())
	}
	for _, a := range byDefault(e.Endpoints) {
		v.Outside = v.Outside || !a.Internal
		if !a.Named() {
			continue
		}
		n := names.ViewNetwork{ID: a.NetworkID, Name: a.Network}
		for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
			if p.IsValid() {
				n.Subnets = append(n.Subnets, p.Masked().String())
			}
		}
		for _, l := range a.Links {
			target, alias, ok := strings.Cut(l, ":")
			if !ok {
				alias = target
			}
			n.Links = append(n.Links, names.ViewLink{Alias: alias, Target: target})
		}
		v.Networks = append(v.Networks, n)
	}
	return v.Text()
}

// homeOf is the network whose resolver serves a container, "" for none.
func homeOf(list []Attached) string {
	for _, a := range byDefault(list) {
		if a.Named() {
			return a.NetworkID
		}
	}
	return ""
}

// byDefault lists the endpoint with the default route first.
func byDefault(list []Attached) []Attached {
	return append(slices.DeleteFunc(slices.Clone(list), func(a Attached) bool { return !a.Default }),
		slices.DeleteFunc(slices.Clone(list), func(a Attached) bool { return a.Default })...)
}

// Serve has a container's questions for names answered in its namespace, a file of
// nsfs, until process, a pidfd, has ended; it does nothing for one on no network with
// names. Where no resolver serves its network, begin starts one: it gives a socket to
// a process of the helper's word "names". Nothing is waited for: questions lie in the
// sockets meanwhile. The result hangs up when the resolver is lost: Serve is to be
// called again then, and may be at any time. It is nil if there is nothing to serve.
func Serve(s *Store, container ids.ID, namespace, process *os.File, begin func() (*os.File, error)) (beside *os.File, err error) {
	e, err := s.endpoint(container)
	if err != nil || e == nil || e.State != stateUp {
		return nil, err
	}
	home := homeOf(e.Endpoints)
	if home == "" {
		home = e.Resolver // it has left those networks
	}
	if home == "" {
		return nil, nil
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	err = netlink.Inside(namespace, func() (err error) {
		fds, err = listenForNames()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve names to container %s: %w", container, err)
	}
	beside, err = s.handOver(home, string(container), append(slices.Clip(fds), int(process.Fd())), begin)
	if err != nil {
		return nil, fmt.Errorf("serve names to container %s: %w", container, err)
	}
	if e.Resolver == home {
		return beside, nil
	}
	e.Resolver = home
	if err := s.put("endpoints", e.Container, e); err != nil {
		beside.Close()
		return nil, fmt.Errorf("write the endpoints of %s: %w", e.Container, err)
	}
	return beside, nil
}

// Served reports whether the container's questions are, or are to be, answered since
// its start.
func Served(s *Store, container ids.ID) bool {
	e, err := s.endpoint(container)
	return err == nil && e != nil && e.State == stateUp && e.Resolver != ""
}

// listenForNames makes the sockets of a server in the namespace that the thread is
// in, on ports that nobody asks for, and rules that lead there.
func listenForNames() (fds []int, err error) {
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

// resolvers is the folder of the resolvers' sockets, by network.
const resolvers = "resolvers"

// handOver gives a container's sockets and process to the resolver of a network. The
// network's lock keeps that one from leaving meanwhile.
func (s *folder) handOver(home, container string, fds []int, begin func() (*os.File, error)) (*os.File, error) {
	held, err := s.lock(home, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	path := filepath.Join(s.run, resolvers)
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
		if err := s.beginResolver(home, at, begin); err != nil {
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

// beginResolver starts a resolver that listens on a socket which is there when it
// returns. The caller holds the network's lock.
func (s *folder) beginResolver(home string, at *unix.SockaddrUnix, begin func() (*os.File, error)) error {
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(listener)
	path := filepath.Join(s.run, resolvers, home)
	if err := remove(path); err != nil { // of one that is gone
		return err
	}
	if err := unix.Bind(listener, at); err != nil {
		return &os.PathError{Op: "bind", Path: path, Err: err}
	}
	if err := unix.Listen(listener, 128); err != nil {
		return os.NewSyscallError("listen", err)
	}
	lock, err := os.Open(filepath.Join(s.run, "locks", home))
	if err != nil {
		return err
	}
	defer lock.Close()
	dir, err := os.Open(filepath.Join(s.run, namesFolder))
	if err != nil {
		return err
	}
	defer dir.Close()
	sock, err := begin()
	if err != nil {
		return err
	}
	defer sock.Close()
	o := names.Order{Boot: s.boot, Conf: resolvConf, OOMScoreAdj: -999}
	if err := fdpass.Send(int(sock.Fd()), names.Encode(&o), listener, int(lock.Fd()), int(dir.Fd())); err != nil {
		return fault.New(fault.Unavailable, "start the resolver of network %s: %w", home, err)
	}
	return nil
}

// resolvConf names the host's servers.
const resolvConf = "/etc/resolv.conf"

// dropNames removes what a network leaves of names; its resolver goes by itself.
func (s *folder) dropNames(network string) error {
	if err := os.RemoveAll(filepath.Join(s.run, namesFolder, names.On, network)); err != nil {
		return err
	}
	return remove(filepath.Join(s.run, resolvers, network))
}
