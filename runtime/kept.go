package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/seccomp"
)

// kept is what an exec needs of the configuration, in a file of its own: it
// spares each exec the reading and compiling of the seccomp profile.
type kept struct {
	Process     *specs.Process           `json:"process"`
	Personality *specs.LinuxPersonality  `json:"personality,omitempty"`
	Memory      *specs.LinuxMemoryPolicy `json:"memoryPolicy,omitempty"`
	Listener    string                   `json:"listenerPath,omitempty"`
	Metadata    string                   `json:"listenerMetadata,omitempty"`
	Program     []byte                   `json:"program,omitempty"` // struct sock_filter, host byte order
	Flags       uint32                   `json:"flags,omitempty"`
	Notify      bool                     `json:"notify,omitempty"`
	// Chroot: without a mount namespace to enter, the root is taken from the
	// container's process.
	Chroot bool `json:"chroot,omitempty"`
}

// keep writes the file that execs read.
func (d *design) keep() error {
	c := d.container
	k := kept{Process: d.spec.Process, Personality: d.spec.Linux.Personality, Memory: d.spec.Linux.MemoryPolicy}
	k.Chroot = !slices.ContainsFunc(d.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
	if f := d.filter; f != nil {
		k.Listener, k.Metadata = d.spec.Linux.Seccomp.ListenerPath, d.spec.Linux.Seccomp.ListenerMetadata
		k.Flags, k.Notify = f.Flags, f.Notify
		k.Program = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f.Insns))), len(f.Insns)*unix.SizeofSockFilter)
	}
	b, err := json.Marshal(&k)
	if err == nil {
		err = writeNew(c.dir, execFile, b)
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
	k := new(kept)
	if err := json.Unmarshal(b, k); err != nil || k.Process == nil || len(k.Program)%unix.SizeofSockFilter != 0 {
		return nil, fault.New(fault.Invalid, "read the process of container %q: %s is damaged", c.id, execFile)
	}
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
	return &specs.Spec{Linux: &specs.Linux{Personality: k.Personality, MemoryPolicy: k.Memory}}
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
