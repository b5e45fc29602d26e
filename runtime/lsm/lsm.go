// Package lsm tells which Linux security modules can label a container:
// AppArmor and SELinux.
//
// It loads no profile and decides on none. The labels are written by package
// initproc. Row 2.
package lsm

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// maxLabel bounds a profile's name or a label to what one write to /proc takes.
const maxLabel = 4000

// unconfined is AppArmor's word for no profile.
const unconfined = "unconfined"

// AppArmor reports whether AppArmor is active.
func AppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && len(b) > 0 && b[0] == 'Y'
}

// profiles has a folder for each profile of the reader's namespace of AppArmor,
// NAME.NUMBER, for everybody to list.
const profiles = "/sys/kernel/security/apparmor/policy/profiles"

// Loaded reports whether AppArmor has a profile in the kernel. False also where
// securityfs is not mounted.
func Loaded(name string) bool {
	dir, err := os.Open(profiles)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return err == nil && slices.ContainsFunc(names, func(n string) bool { return isProfile(n, name) })
}

// isProfile reports whether a folder of profiles is that of a name.
func isProfile(folder, name string) bool {
	number, ok := strings.CutPrefix(folder, name+".")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// Own is the AppArmor profile that confines this process, "" for none.
func Own() string {
	b, err := os.ReadFile("/proc/thread-self/attr/apparmor/current")
	if err != nil { // before Linux 5.8
		b, err = os.ReadFile("/proc/thread-self/attr/current")
	}
	label := strings.TrimRight(string(b), "\n\x00")
	if err != nil || label == unconfined || strings.HasSuffix(label, " ("+unconfined+")") {
		return ""
	}
	return label
}

// SELinux reports whether SELinux is active: selinuxfs is mounted at its place.
func SELinux() bool {
	var fs unix.Statfs_t
	for _, dir := range []string{"/sys/fs/selinux", "/selinux"} {
		if unix.Statfs(dir, &fs) == nil && uint32(fs.Type) == unix.SELINUX_MAGIC {
			return true
		}
	}
	return false
}

// Profile is the profile to apply for process.apparmorProfile; empty if there
// is nothing to do.
func Profile(name string) string {
	if name == unconfined && !AppArmor() {
		return ""
	}
	return name
}

// CheckAppArmor refuses a profile (process.apparmorProfile) that cannot be
// applied: kind Unsupported without AppArmor, Invalid for a malformed name.
func CheckAppArmor(profile string) error {
	if err := check("process.apparmorProfile", profile); err != nil {
		return err
	}
	if Profile(profile) != "" && !AppArmor() {
		return fault.New(fault.Unsupported, "process.apparmorProfile: %q was asked for, but AppArmor is not active on this machine", profile)
	}
	return nil
}

// CheckSELinux is CheckAppArmor for process.selinuxLabel.
func CheckSELinux(label string) error {
	if err := check("process.selinuxLabel", label); err != nil {
		return err
	}
	if label != "" && !SELinux() {
		return fault.New(fault.Unsupported, "process.selinuxLabel: %q was asked for, but SELinux is not active on this machine", label)
	}
	return nil
}

func check(field, label string) error {
	if len(label) > maxLabel {
		return fault.New(fault.Invalid, "%s: longer than %d bytes", field, maxLabel)
	}
	if strings.ContainsAny(label, "\x00\n\r") {
		return fault.New(fault.Invalid, "%s: has a line break or NUL byte", field)
	}
	return nil
}
