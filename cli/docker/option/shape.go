package option

import (
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// Shape is what update changes of a container's mounts and devices; docker has none
// of these flags.
type Shape struct {
	mounts              mounts
	noMounts, noDevices []string
	devices             []config.Device
}

// Flags adds them.
func (s *Shape) Flags(f *pflag.FlagSet) {
	f.Var(&value{kind: "mount", take: s.mounts.addMount}, "mount-add", "Mount one more bind, volume or tmpfs, at once if it runs")
	f.Var(listed(&s.noMounts, nil), "mount-rm", "Unmount what is at a path of the container")
	f.Var(&value{kind: "device", take: s.addDevice}, "device-add", "Add a host device, at once if it runs")
	f.Var(listed(&s.noDevices, nil), "device-rm", "Take a device away by its path in the container")
	command.Extra(f, "mount-add", "mount-rm", "device-add", "device-rm")
}

func (s *Shape) addDevice(text string) error {
	d, err := device(text)
	if err == nil {
		s.devices = append(s.devices, d)
	}
	return err
}

// Value is what they ask for.
func (s *Shape) Value() (add []config.Mount, remove []string, devices []config.Device, noDevices []string) {
	return s.mounts.list, s.noMounts, s.devices, s.noDevices
}
