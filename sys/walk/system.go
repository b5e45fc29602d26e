package walk

import (
	"fmt"
	"os"
	"path"
	"slices"
)

// ofSystem are folders whose owners and labels the system itself lives by.
var ofSystem = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt", "/proc", "/root",
	"/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
}

// System reports whether an open file is a folder of the system's, or a user's home:
// nobody means to give all below it to a container.
func System(f *os.File) (bool, error) {
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return false, err
	}
	home, _ := os.UserHomeDir()
	return slices.Contains(ofSystem, real) || real == home || path.Dir(real) == "/home", nil
}
