package runtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/base/fault"
	"berth/runtime/seccomp"
)

// kept is what an exec needs of the configuration, in a file of its own: it
// spares each exec the reading and compiling of the seccomp profile.
type kept struct {
	Process  *specs.Process
	Rare     rare
	Listener string
	Metadata string
	Program  []byte // struct sock_filter, host byte order
	Flags    uint32
	Notify   bool
	// Chroot: without a mount namespace to enter, the root is taken from the
	// container's process.
	Chroot bool
}

// rare is what few containers have; it is kept as JSON, whose price only they pay.
type rare struct {
	Personality *specs.LinuxPersonality  `json:"personality,omitempty"`
	Memory      *specs.LinuxMemoryPolicy `json:"memoryPolicy,omitempty"`
	Scheduler   *specs.Scheduler         `json:"scheduler,omitempty"`
	IOPriority  *specs.LinuxIOPriority   `json:"ioPriority,omitempty"`
	Affinity    *specs.CPUAffinity       `json:"execCPUAffinity,omitempty"`
}

// keptVersion is the first number in the file.
const keptVersion = 1

// wire codes all of k; the program lies in the coder's memory after decoding.
func (k *kept) wire(c *codec.Coder) error {
	version := uint64(keptVersion)
	if c.U64(&version); version != keptVersion {
		return codec.ErrTruncated
	}
	codec.Optional(c, &k.Process, wireProcess)
	c.Str(&k.Listener)
	c.Str(&k.Metadata)
	c.Bytes(&k.Program)
	c.U32(&k.Flags)
	c.Bool(&k.Notify)
	c.Bool(&k.Chroot)
	var text []byte
	var err error
	if k.Rare != (rare{}) {
		text, err = json.Marshal(&k.Rare)
	}
	c.Bytes(&text)
	if c.Decoding() && len(text) > 0 && c.Err == nil {
		err = json.Unmarshal(text, &k.Rare)
	}
	return cmp.Or(c.Err, err)
}

// wireProcess codes what is not rare of a process of the specification 1.3.
func wireProcess(c *codec.Coder, p *specs.Process) {
	c.Bool(&p.Terminal)
	codec.Optional(c, &p.ConsoleSize, func(c *codec.Coder, b *specs.Box) {
		for _, v := range []*uint{&b.Height, &b.Width} {
			x := uint64(*v)
			c.U64(&x)
			*v = uint(x)
		}
	})
	u := &p.User
	c.U32(&u.UID)
	c.U32(&u.GID)
	codec.Optional(c, &u.Umask, (*codec.Coder).U32)
	c.U32s(&u.AdditionalGids)
	c.Str(&u.Username)
	c.Strs(&p.Args)
	c.Strs(&p.Env)
	c.Str(&p.Cwd)
	codec.Optional(c, &p.Capabilities, func(c *codec.Coder, l *specs.LinuxCapabilities) {
		for _, set := range []*[]string{&l.Bounding, &l.Effective, &l.Inheritable, &l.Permitted, &l.Ambient} {
			c.Strs(set)
		}
	})
	codec.List(c, &p.Rlimits, func(c *codec.Coder, l *specs.POSIXRlimit) {
		c.Str(&l.Type)
		c.U64(&l.Hard)
		c.U64(&l.Soft)
	})
	c.Bool(&p.NoNewPrivileges)
	c.Str(&p.ApparmorProfile)
	codec.Optional(c, &p.OOMScoreAdj, (*codec.Coder).Int)
	c.Str(&p.SelinuxLabel)
}

// keptOf collects what a container's execs need.
func (d *design) keptOf() *kept {
	p := d.spec.Process
	k := &kept{Process: p, Rare: rare{d.spec.Linux.Personality, d.spec.Linux.MemoryPolicy, p.Scheduler, p.IOPriority, p.ExecCPUAffinity}}
	k.Chroot = !slices.ContainsFunc(d.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
	if f := d.filter; f != nil {
		k.Listener, k.Metadata = d.spec.Linux.Seccomp.ListenerPath, d.spec.Linux.Seccomp.ListenerMetadata
		k.Flags, k.Notify = f.Flags, f.Notify
		k.Program = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f.Insns))), len(f.Insns)*unix.SizeofSockFilter)
	}
	return k
}

// keep writes the file that execs read.
func (d *design) keep() error {
	c := d.container
	to := new(codec.Coder)
	err := d.keptOf().wire(to)
	if err == nil {
		err = writeNew(c.dir, execFile, to.Buf)
	}
	if err != nil {
		return fmt.Errorf("keep the process of container %q: %w", c.id, err)
	}
	return nil
}

// kept reads what keep wrote.
func (c *container) kept() (*kept, error) {
	b, err := readIn(c.dir, execFile, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("read the process of container %q: %w", c.id, err)
	}
	k, from := new(kept), codec.Decode(b)
	if err := k.wire(from); err != nil || len(from.Buf) > 0 || k.Process == nil || len(k.Program)%unix.SizeofSockFilter != 0 {
		return nil, fault.New(fault.Invalid, "read the process of container %q: %s is damaged", c.id, execFile)
	}
	k.Process.Scheduler, k.Process.IOPriority, k.Process.ExecCPUAffinity = k.Rare.Scheduler, k.Rare.IOPriority, k.Rare.Affinity
	return k, nil
}

// filter returns the compiled seccomp profile, nil without one.
func (k *kept) filter() *seccomp.Filter {
	n := len(k.Program) / unix.SizeofSockFilter
	if n == 0 {
		return nil
	}
	insns := make([]unix.SockFilter, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&insns[0])), len(k.Program)), k.Program)
	return &seccomp.Filter{Insns: insns, Flags: k.Flags, Notify: k.Notify}
}

// spec returns the part of the configuration that an exec shares with the
// container's own process.
func (k *kept) spec() *specs.Spec {
	return &specs.Spec{Linux: &specs.Linux{Personality: k.Rare.Personality, MemoryPolicy: k.Rare.Memory}}
}

// writeNew makes a file in a container's folder, readable by the owner alone.
func writeNew(dir *os.File, name string, data []byte) error {
	f, err := openIn(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
