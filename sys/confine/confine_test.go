package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What is taken away does not come back, so each case is a process of its own:
// the test binary, called with the case's name. It prints what it can still do.

func TestMain(m *testing.M) {
	if name := os.Getenv("CONFINE_CASE"); name != "" {
		cases[name](os.Getenv("CONFINE_DIR"))
		return
	}
	os.Exit(m.Run())
}

func can(what string, err error) {
	if err == nil {
		fmt.Println("can", what)
		return
	}
	var errno unix.Errno
	errors.As(err, &errno)
	fmt.Println("cannot", what, unix.ErrnoName(errno))
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func socket(family, kind int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// everyThread runs do in many threads that existed before the confinement.
func everyThread(confine func(), do func() error) error {
	const n = 8
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			ready.Done()
			<-begin
			errs[i] = do()
		}()
	}
	ready.Wait()
	confine()
	close(begin)
	done.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errs[0]
}

var cases = map[string]func(dir string){
	"files": func(dir string) {
		abi, err := Restrict(AllThreads, &Files{Paths: []Path{
			{Path: dir + "/ro", Access: Read},
			{Path: dir + "/rw", Access: Read | Write | Make},
			{Path: dir + "/file", Access: Read | Make},
			{Path: dir + "/missing", Access: Read},
		}})
		check(err)
		fmt.Println("abi", abi > 0)
		can("read ro", open(dir+"/ro/f", unix.O_RDONLY))
		can("write ro", open(dir+"/ro/f", unix.O_WRONLY))
		can("make in ro", open(dir+"/ro/new", unix.O_WRONLY|unix.O_CREAT))
		can("remove from ro", unix.Unlink(dir+"/ro/f"))
		can("write rw", open(dir+"/rw/f", unix.O_RDWR))
		can("make in rw", open(dir+"/rw/new", unix.O_WRONLY|unix.O_CREAT))
		can("make a device", unix.Mknod(dir+"/rw/null", unix.S_IFCHR|0o600, 1<<8|3))
		can("read file", open(dir+"/file", unix.O_RDONLY))
		can("read elsewhere", open("/etc/passwd", unix.O_RDONLY))
		can("list root", open("/", unix.O_RDONLY|unix.O_DIRECTORY))
		can("execute", exec.Command("/bin/true").Run())
	},
	"threads": func(dir string) {
		can("read in another thread", everyThread(func() {
			_, err := Restrict(AllThreads, &Files{})
			check(err)
		}, func() error { return open("/etc/passwd", unix.O_RDONLY) }))
	},
	"nodes": func(dir string) {
		_, err := Restrict(AllThreads, &Files{Paths: []Path{{Path: dir + "/rw", Access: Read | Make | Nodes}}})
		check(err)
		can("make a whiteout", unix.Mknod(dir+"/rw/w", unix.S_IFCHR, 0))
		can("make a block device", unix.Mknod(dir+"/rw/b", unix.S_IFBLK, 7<<8))
		can("make a whiteout elsewhere", unix.Mknod(dir+"/ro/w", unix.S_IFCHR, 0))
	},
	"one thread": func(dir string) {
		runtime.LockOSThread()
		can("read in another thread", everyThread(func() {
			_, err := Restrict(ThisThread, &Files{})
			check(err)
		}, func() error { return open("/etc/passwd", unix.O_RDONLY) }))
		can("read here", open("/etc/passwd", unix.O_RDONLY))
	},
	"tcp": func(dir string) {
		_, err := Restrict(AllThreads, &Files{Connect: []uint16{9}})
		check(err)
		bind := func(port int) error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			check(err)
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		}
		connect := func(port int) error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			check(err)
			defer unix.Close(fd)
			return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		}
		can("bind", bind(0))
		can("connect 9", connect(9))
		can("connect 10", connect(10))
		can("signal the parent", unix.Kill(os.Getppid(), 0))
	},
	"nobody": func(dir string) {
		check(NobodyWith(1 << unix.CAP_NET_RAW))
		fmt.Println("user", os.Geteuid())
		can("packet socket", everyThread(func() {}, func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW) }))
		can("become root", unix.Setuid(0))
	},
	"calls": func(dir string) {
		check(Forbid(AllThreads, &Calls{}))
		can("read", open("/etc/passwd", unix.O_RDONLY))
		can("execute", exec.Command("/bin/true").Run())
		can("mount", unix.Mount("none", dir, "tmpfs", 0, ""))
		can("unshare", unix.Unshare(unix.CLONE_NEWUTS))
		can("ptrace", unix.PtraceAttach(os.Getppid()))
		can("unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM))
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		can("keyctl", err)
		_, _, e := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWUTS|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		can("clone a namespace", e)
		// New threads still work.
		can("read in a new thread", everyThread(func() {}, func() error { return open("/etc/passwd", unix.O_RDONLY) }))
	},
	"some calls": func(dir string) {
		can("mount in another thread", everyThread(func() {
			check(Forbid(AllThreads, &Calls{Execute: true, Sockets: true}))
		}, func() error { return unix.Mount("none", dir, "tmpfs", 0, "") }))
		can("execute", exec.Command("/bin/true").Run())
		can("unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM))
		can("netlink socket", socket(unix.AF_NETLINK, unix.SOCK_RAW))
		can("alg socket", socket(unix.AF_ALG, unix.SOCK_SEQPACKET))
		can("packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW))
		can("vsock socket", socket(unix.AF_VSOCK, unix.SOCK_STREAM))
	},
	"internet": func(string) {
		check(Forbid(AllThreads, &Calls{Internet: true}))
		can("unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM))
		can("netlink socket", socket(unix.AF_NETLINK, unix.SOCK_RAW))
		can("inet socket", socket(unix.AF_INET, unix.SOCK_STREAM))
		can("inet6 socket", socket(unix.AF_INET6, unix.SOCK_DGRAM))
		can("packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW))
	},
}

func run(t *testing.T, name string, want string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"ro", "rw"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d, "f"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONFINE_CASE="+name, "CONFINE_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		if line = strings.TrimSpace(line); !strings.Contains("\n"+string(out), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, out)
		}
	}
}

func needLandlock(t *testing.T, abi int) {
	t.Helper()
	if has := Supported(); has < abi {
		t.Skipf("needs hardware: a kernel with Landlock ABI %d, this has %d", abi, has)
	}
}

func TestFiles(t *testing.T) {
	needLandlock(t, 1)
	run(t, "files", `abi true
		can read ro
		cannot write ro EACCES
		cannot make in ro EACCES
		cannot remove from ro EACCES
		can write rw
		can make in rw
		cannot make a device EACCES
		can read file
		cannot read elsewhere EACCES
		cannot list root EACCES
		cannot execute EACCES`)
}

func TestNodes(t *testing.T) {
	needLandlock(t, 1)
	block := "can make a block device"
	if unix.Mknod(t.TempDir()+"/b", unix.S_IFBLK, 7<<8) != nil {
		block = "cannot make a block device EPERM" // as without Landlock
	}
	run(t, "nodes", `can make a whiteout
		`+block+`
		cannot make a whiteout elsewhere EACCES`)
}

func TestThreads(t *testing.T) {
	needLandlock(t, 1)
	run(t, "threads", "cannot read in another thread EACCES")
	run(t, "one thread", "can read in another thread\ncannot read here EACCES")
}

func TestTCP(t *testing.T) {
	needLandlock(t, abiNet)
	want := "cannot bind EACCES\ncannot connect 9 ECONNREFUSED\ncannot connect 10 EACCES"
	if Supported() >= abiScope {
		want += "\ncannot signal the parent EPERM"
	}
	run(t, "tcp", want)
}

// Where there is no other user, who is confined stays who it is, without rights.
func TestNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to become another user")
	}
	run(t, "nobody", "user 65534\ncan packet socket\ncannot become root EPERM")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONFINE_CASE=nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	out, err := cmd.CombinedOutput()
	if want := "user 0\ncan packet socket\n"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("with one user: %v, %q", err, out)
	}
}

func TestCalls(t *testing.T) {
	run(t, "calls", `can read
		cannot execute EPERM
		cannot mount EPERM
		cannot unshare EPERM
		cannot ptrace EPERM
		cannot unix socket EPERM
		cannot keyctl EPERM
		cannot clone a namespace EPERM
		can read in a new thread`)
	run(t, "some calls", `cannot mount in another thread EPERM
		can execute
		can unix socket
		can netlink socket
		cannot alg socket EPERM
		cannot packet socket EPERM
		cannot vsock socket EPERM`)
	run(t, "internet", `cannot unix socket EPERM
		can netlink socket
		can inet socket
		can inet6 socket
		cannot packet socket EPERM`)
}
