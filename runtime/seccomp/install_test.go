package seccomp

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// onFilteredThread runs do on a thread of its own that ends with it, so that a
// filter put there touches nothing else. The thread has no_new_privs.
func onFilteredThread(t testing.TB, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread dies
		if unix.Gettid() == os.Getpid() {
			// The process could not live on without its first thread.
			defer runtime.UnlockOSThread()
			onFilteredThread(t, do)
			return
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Errorf("set no_new_privs: %v", err)
			return
		}
		do()
	}()
	<-done
}

// install puts a filter on the current thread; the descriptor is -1 without
// a listener.
func install(f *Filter) (listener int, err error) {
	program := unix.SockFprog{Len: uint16(len(f.Insns)), Filter: &f.Insns[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(f.Flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp(SECCOMP_SET_MODE_FILTER): %w", errno)
	}
	if !f.Notify {
		return -1, nil
	}
	return int(fd), nil
}

// structures and requests of linux/seccomp.h that x/sys has not.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

const (
	ioctlNotifRecv = 0xc0502100
	ioctlNotifSend = 0xc0182101
)

// TestKernelNotify lets this process answer its own thread's call.
func TestKernelNotify(t *testing.T) {
	f, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: "/run/agent",
		Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv},
		Syscalls: []specs.LinuxSyscall{{
			Names: []string{"umask"}, Action: specs.ActNotify, Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: 0o1234567}},
		}},
	})
	if err != nil || !f.Notify {
		t.Fatalf("%+v, %v", f, err)
	}
	listeners := make(chan int)
	answered := make(chan error, 1)
	go func() { answered <- answer(<-listeners, 0o1234567, 4711) }()
	onFilteredThread(t, func() {
		fd, err := install(f)
		if err != nil {
			t.Error(err)
			close(listeners)
			return
		}
		listeners <- fd
		if got, _, errno := unix.Syscall(unix.SYS_UMASK, 0o1234567, 0, 0); got != 4711 || errno != 0 {
			t.Errorf("umask(01234567) = %d, %v, want what the agent said, 4711", got, errno)
		}
	})
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// answer takes one notification of a call with the argument and returns val from it.
func answer(listener int, arg uint64, val int64) error {
	defer unix.Close(listener)
	poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 10000)
	for err == unix.EINTR {
		n, err = unix.Poll(poll, 10000)
	}
	if n != 1 {
		return fmt.Errorf("no notification: %v", err)
	}
	var asked notification
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlNotifRecv, uintptr(unsafe.Pointer(&asked))); errno != 0 {
		return fmt.Errorf("SECCOMP_IOCTL_NOTIF_RECV: %w", errno)
	}
	if asked.nr != unix.SYS_UMASK || asked.args[0] != arg {
		return fmt.Errorf("notification of call %d, argument %#o", asked.nr, asked.args[0])
	}
	r := response{id: asked.id, val: val}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlNotifSend, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("SECCOMP_IOCTL_NOTIF_SEND: %w", errno)
	}
	return nil
}

// TestKernelKillThread: KILL ends the thread that called and no other.
func TestKernelKillThread(t *testing.T) {
	f, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"getpriority"}, Action: specs.ActKill}},
	})
	if err != nil {
		t.Fatal(err)
	}
	threads := make(chan int, 1)
	go onFilteredThread(t, func() {
		if _, err := install(f); err != nil {
			t.Error(err)
			threads <- 0
			return
		}
		threads <- unix.Gettid()
		// Not RawSyscall: Go must know that this thread may not come back.
		unix.Syscall(unix.SYS_GETPRIORITY, 0, 0, 0)
		t.Error("the thread survived")
	})
	tid := <-threads
	if tid == 0 {
		return
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the thread still lives")
		}
	}
}

func TestSupportedFlags(t *testing.T) {
	supported := SupportedFlags()
	for _, name := range supported {
		f, err := Compile(&specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: "/a", Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(name)},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mknodat"}, Action: specs.ActNotify}},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		onFilteredThread(t, func() {
			fd, err := install(f)
			if err != nil {
				t.Errorf("%s is supported, but %v", name, err)
				return
			}
			unix.Close(fd)
		})
	}
	if len(supported) < 3 { // all but WAIT_KILLABLE_RECV are older than every kernel we run on
		t.Errorf("only %v", supported)
	}
}

// BenchmarkAttachMoby is the kernel's part: check, translate, compile, cache.
func BenchmarkAttachMoby(b *testing.B) {
	f, err := Compile(mobyProfile(b, host, "CAP_CHOWN"))
	if err != nil {
		b.Fatal(err)
	}
	var spent time.Duration
	for b.Loop() {
		onFilteredThread(b, func() {
			start := time.Now()
			if _, err := install(f); err != nil {
				b.Error(err)
			}
			spent += time.Since(start)
		})
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "attach-ns/op")
}
