// Package process plans what concerns the process of a container itself:
// session, names, kernel parameters, limits, scheduling, terminal, labels,
// ids, capabilities and seccomp. It turns the runtime-spec's process and linux
// objects into steps of package initproc.
//
// Planning is pure. What only the parent can do to the waiting process is in
// Outside and SetOOMScoreAdj. Mounts and devices are rootfs's, cgroups are
// cgroup's. Row 2.
//
// The phases, and what the caller puts between them:
//
//	create                                 exec
//	  Streams
//	  (mounts)
//	  Terminal
//	  (createRuntime, createContainer, pivot_root)
//	  Early                                  Streams, Terminal, Early
//	  Late                                   Late
//	  (working directory, LookPath)          (working directory, LookPath)
//	  BeforeWait                             BeforeWait
//	  (WaitStart, startContainer)
//	  AfterWait                              AfterWait
//	  (Exec)                                 (Exec)
//
// After Late the process is the container's user, without rights that the
// program will not have. Everything that shrinks the helper's own means
// (limits, labels, seccomp) waits for the end.
package process

import (
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/initproc"
	"berth/runtime/lsm"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/seccomp"
)

// Options are what is known beside the spec. The zero value of every field but
// ID is meaningful.
type Options struct {
	ID string // of the container
	// Exec is set for one more process in a running container: host names and
	// sysctls are left alone, and /dev/console is not mounted.
	Exec bool
	// Namespaces are those of the container that are not the caller's.
	Namespaces   namespace.Set
	NoNewKeyring bool
	// Filter is the compiled linux.seccomp, nil without one.
	Filter *seccomp.Filter
	// Account, if set, names the user: the ids of process.user are not used.
	Account *initproc.Account
	// ConsoleSocket opens the connected socket that takes the terminal's master;
	// needed with process.terminal.
	ConsoleSocket plan.Opener
	// Warn receives what the spec wants logged rather than refused; may be nil.
	Warn func(format string, args ...any)
}

func (o *Options) warn(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(format, args...)
	}
}

// Early plans what comes first in the container's root: session, keyring,
// names, sysctls, scheduling. Errors have kind Invalid and name the field.
func Early(b *plan.Builder, spec *specs.Spec, p *specs.Process, o *Options) error {
	if !p.Terminal {
		b.Add(&initproc.Setsid{})
	}
	if !o.NoNewKeyring {
		b.Add(&initproc.Keyring{KeyringName: "_ses." + o.ID, Label: p.SelinuxLabel})
	}
	if !o.Exec {
		if o.Namespaces.New&unix.CLONE_NEWNET != 0 {
			b.Add(&initproc.Loopback{})
		}
		if err := names(b, spec, o); err != nil {
			return err
		}
		if err := sysctls(b, spec, o); err != nil {
			return err
		}
	}
	if err := scheduling(b, p, o); err != nil {
		return err
	}
	if spec.Linux != nil {
		if err := memoryPolicy(b, spec.Linux.MemoryPolicy); err != nil {
			return err
		}
		if err := personality(b, spec.Linux.Personality); err != nil {
			return err
		}
	}
	return raiseLimits(b, p, o)
}

// Late plans who the process is: standard streams, umask, ids, capabilities,
// and its HOME if it has none.
func Late(b *plan.Builder, p *specs.Process, o *Options) error {
	if err := umask(b, p); err != nil {
		return err
	}
	if o.Account != nil {
		b.Add(o.Account)
	}
	if err := identity(b, p, o); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Env, func(s string) bool { return strings.HasPrefix(s, "HOME=") && s != "HOME=" }) {
		b.Add(&initproc.Home{UID: p.User.UID})
	}
	return nil
}

// BeforeWait and AfterWait plan what is last: limits, labels, no_new_privs and
// seccomp. They belong after the wait for start, except that a seccomp
// listener must reach the parent while it is there.
func BeforeWait(b *plan.Builder, p *specs.Process, o *Options) error {
	if o.Filter != nil && o.Filter.Notify {
		return last(b, p, o)
	}
	return check(p)
}

// AfterWait is the other half of BeforeWait.
func AfterWait(b *plan.Builder, p *specs.Process, o *Options) error {
	if o.Filter != nil && o.Filter.Notify {
		return nil
	}
	return last(b, p, o)
}

func last(b *plan.Builder, p *specs.Process, o *Options) error {
	if err := check(p); err != nil {
		return err
	}
	limits, err := limits(p)
	if err != nil {
		return err
	}
	if limits = withInherited(limits); len(limits) != 0 {
		b.Add(&initproc.Rlimits{Limits: limits})
	}
	label := initproc.Label{AppArmor: lsm.Profile(p.ApparmorProfile), SELinux: p.SelinuxLabel}
	if label != (initproc.Label{}) {
		b.Add(&label)
	}
	if p.NoNewPrivileges {
		b.Add(&initproc.NoNewPrivileges{})
	}
	if f := o.Filter; f != nil {
		b.Add(&initproc.Seccomp{Insns: f.Insns, Flags: f.Flags, Notify: f.Notify})
	}
	return nil
}

// check makes sure that the security modules asked for are there.
func check(p *specs.Process) error {
	if err := lsm.CheckAppArmor(p.ApparmorProfile); err != nil {
		return err
	}
	return lsm.CheckSELinux(p.SelinuxLabel)
}

// maxHostname is the size of the kernel's utsname fields less the NUL.
const maxHostname = 64

func names(b *plan.Builder, spec *specs.Spec, o *Options) error {
	if spec.Hostname == "" && spec.Domainname == "" {
		return nil
	}
	for _, f := range []struct{ field, value string }{{"hostname", spec.Hostname}, {"domainname", spec.Domainname}} {
		switch {
		case f.value == "":
		case !o.Namespaces.Has(unix.CLONE_NEWUTS):
			return fault.New(fault.Invalid, "%s: it takes a private UTS namespace", f.field)
		case len(f.value) > maxHostname:
			return fault.New(fault.Invalid, "%s: longer than %d bytes", f.field, maxHostname)
		case hasControl(f.value):
			return fault.New(fault.Invalid, "%s: %q has a control character", f.field, f.value)
		}
	}
	b.Add(&initproc.Hostname{Host: spec.Hostname, Domain: spec.Domainname})
	return nil
}

// hasControl reports bytes that could end a line or a C string.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// Streams plans standard streams other than the parent's. They come first, so
// that hooks have them too.
func Streams(b *plan.Builder, p *specs.Process, streams *[3]*os.File) error {
	if streams == nil {
		return nil
	}
	if p.Terminal {
		return fault.New(fault.Invalid, "process.terminal: a process with a terminal has no other standard streams")
	}
	var s initproc.Streams
	for i, f := range streams {
		s.Files[i] = b.File(streamNames[i], plan.Copy(f))
	}
	b.Add(&s)
	return nil
}

var streamNames = [...]string{"standard input", "standard output", "standard error"}

// Terminal plans the process's terminal, if it has one.
func Terminal(b *plan.Builder, p *specs.Process, o *Options) error {
	if !p.Terminal {
		return nil
	}
	if o.ConsoleSocket == nil {
		return fault.New(fault.Invalid, "process.terminal: a terminal needs a console socket")
	}
	step := initproc.Console{Mount: !o.Exec}
	if s := p.ConsoleSize; s != nil {
		if s.Height > 0xffff || s.Width > 0xffff {
			return fault.New(fault.Invalid, "process.consoleSize: %dx%d is larger than 65535x65535", s.Width, s.Height)
		}
		step.Rows, step.Cols = uint16(s.Height), uint16(s.Width)
	}
	step.Socket = b.File("console socket", o.ConsoleSocket)
	b.Add(&initproc.Setsid{}, &step)
	return nil
}

// defaultUmask is what a process without an umask of its own gets, whatever the
// caller's is.
const defaultUmask = 0o022

func umask(b *plan.Builder, p *specs.Process) error {
	mask := uint32(defaultUmask)
	if m := p.User.Umask; m != nil {
		mask = *m
	}
	if mask > 0o777 {
		return fault.New(fault.Invalid, "process.user.umask: %#o is more than 0777", mask)
	}
	b.Add(&initproc.Umask{Mask: mask})
	return nil
}

// invalid makes an error about a field.
func invalid(field, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s: %s", field, fmt.Sprintf(format, args...))
}

// clip shortens foreign text for an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
