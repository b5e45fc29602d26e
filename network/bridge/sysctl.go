package bridge

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
)

// sysctl is one file below /proc/sys/net and what it shall hold.
type sysctl struct {
	name, value string
	optional    bool // the kernel may be without it (IPv6)
}

const sysctlFolder = "/proc/sys/net/"

// apply writes settings of the caller's network namespace.
func apply(list []sysctl) error {
	for _, s := range list {
		if err := write(s.name, s.value); err != nil && (!s.optional || !errors.Is(err, unix.ENOENT)) {
			return err
		}
	}
	return nil
}

func write(name, value string) error {
	fd, err := unix.Open(sysctlFolder+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s%s: %w", sysctlFolder, name, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("write %s%s: %w", sysctlFolder, name, err)
	}
	return nil
}

func read(name string) (string, error) {
	fd, err := unix.Open(sysctlFolder+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s%s: %w", sysctlFolder, name, err)
	}
	defer unix.Close(fd)
	b, err := atomicfile.ReadCappedFD(fd, sysctlFolder+name, 64)
	return strings.TrimSpace(string(b)), err
}

// Router reports whether the administrator made this host a router: then all
// devices forward, and that is not ours to bound.
func Router() (v4, v6 bool) {
	four, _ := read("ipv4/conf/all/forwarding")
	six, _ := read("ipv6/conf/all/forwarding")
	return four == "1", six == "1"
}

// Forwards reports whether packets that come in by a device are forwarded.
func Forwards(device string) bool {
	now, err := read("ipv4/conf/" + device + "/forwarding")
	return err == nil && now == "1"
}

// Forward switches IPv4 forwarding on for one device, so that answers that come
// in by it reach containers. That it is gone is no error.
func Forward(device string) error {
	return apply([]sysctl{{"ipv4/conf/" + device + "/forwarding", "1", true}})
}

// Forward6 switches IPv6 forwarding on, which the kernel has for all devices at
// once. Devices that take their default route from router advertisements, which
// forwarding would end, are told to go on.
func Forward6(devices []string) error {
	for _, d := range devices {
		name := "ipv6/conf/" + d + "/accept_ra"
		if now, err := read(name); err == nil && now == "1" {
			if err := write(name, "2"); err != nil {
				return err
			}
		}
	}
	return write("ipv6/conf/all/forwarding", "1")
}
