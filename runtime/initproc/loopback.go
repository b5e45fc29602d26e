package initproc

import "golang.org/x/sys/unix"

// Loopback switches on the interface lo of a network namespace that was made
// for this container: the kernel makes it switched off, and programs take
// 127.0.0.1 for granted (netdevice(7), SIOCSIFFLAGS).
type Loopback struct{}

func (s *Loopback) Name() string { return "switch on the loopback interface" }
func (s *Loopback) op() op       { return opLoopback }
func (s *Loopback) wire(*coder)  {}

func (s *Loopback) do(*process) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
