package runtime

//lint:file-ignore SA1019 prestart hooks are deprecated, and engines still give them

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/hook"
	"berth/runtime/initproc"
	"berth/runtime/netdev"
)

// sync acts while the first process waits.
func (d *design) sync(at initproc.SyncPoint, pid int) error {
	if at == initproc.SyncLimits {
		return d.cgroup.Update(context.Background(), &specs.LinuxResources{Pids: d.latePids}, false)
	}
	return d.runtimeHooks(pid)
}

// runtimeHooks is the moment before pivot_root, while the first process waits:
// host network devices move in, then prestart and createRuntime hooks run.
func (d *design) runtimeHooks(pid int) error {
	moved, err := netdev.MoveInto(d.spec.Linux.NetDevices, pid)
	if err != nil {
		return err
	}
	d.moved = moved
	ctx := context.Background()
	h := d.spec.Hooks
	if h == nil {
		return nil
	}
	state := d.state(pid, specs.StateCreating)
	if err := hook.Run(ctx, "prestart", h.Prestart, state); err != nil {
		return err
	}
	return hook.Run(ctx, "createRuntime", h.CreateRuntime, state)
}

// passListener sends a container's seccomp listener to the profile's agent:
// config-linux.md, "The Container Process State".
func (d *design) passListener(pid int, listener *os.File) error {
	profile := d.spec.Linux.Seccomp
	return sendListener(profile.ListenerPath, profile.ListenerMetadata, d.state(pid, specs.StateCreating), listener)
}

func sendListener(path, metadata string, state *specs.State, listener *os.File) error {
	b, err := json.Marshal(&specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: state.Pid,
		Metadata: metadata, State: *state,
	})
	if err != nil {
		return fmt.Errorf("describe the process to the seccomp agent: %w", err)
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(sock)
	if err := unix.Connect(sock, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to the seccomp agent at %s (linux.seccomp.listenerPath): %w", path, err)
	}
	if err := unix.Sendmsg(sock, b, unix.UnixRights(int(listener.Fd())), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send the seccomp listener to %s: %w", path, err)
	}
	return nil
}
