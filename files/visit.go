package files

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/sys/clone"
)

// Visit is a look into a place. Its methods belong to one goroutine; after Pack or
// Unpack only Close is left.
type Visit struct {
	pid  int
	sock *os.File
	data *os.File
	in   *json.Decoder
	out  *json.Encoder
	stop func() bool // that no longer ends it with the context
}

// maxFrame bounds what the new process may say at once.
const maxFrame = 64

// startPatience is what the process gets to come up, on a loaded machine.
const startPatience = 60 * time.Second

// Enter starts a visit. It ends with the context, with Close, or with this process.
// Error: Conflict if the process inside has ended.
func Enter(ctx context.Context, p *Place) (_ *Visit, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	defer func() {
		if err != nil {
			err = fmt.Errorf("look into the files: %w", err)
		}
	}()
	mounts, users, err := p.namespaces()
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	join := []clone.Join{{FD: int(mounts.Fd()), Flag: unix.CLONE_NEWNS}}
	create := unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if users != nil {
		defer users.Close()
		join = append(join, clone.Join{FD: int(users.Fd()), Flag: unix.CLONE_NEWUSER})
	} else {
		create |= unix.CLONE_NEWUSER
	}
	inside := p.Layers
	if inside == nil { // those of the caller
		inside = &Layers{}
	}
	v := &Visit{}
	u.Push("end the visit", v.end)
	if err := v.start(join, create, inside); err != nil {
		return nil, err
	}
	_ = v.sock.SetReadDeadline(time.Now().Add(startPatience))
	if err := v.greeted(); err != nil {
		return nil, err
	}
	_ = v.sock.SetReadDeadline(time.Time{})
	v.stop = context.AfterFunc(ctx, v.hangUp)
	return v, nil
}

// start starts the process and leaves its two sockets open.
func (v *Visit) start(join []clone.Join, create int, l *Layers) error {
	// This program itself, whatever is at its path by now.
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer program.Close()
	sock, theirs, err := pair("control")
	if err != nil {
		return err
	}
	defer theirs.Close()
	v.sock = sock
	data, theirData, err := pair("tar")
	if err != nil {
		return err
	}
	defer theirData.Close()
	v.data = data
	first, twoStage, err := clone.Start(&clone.Attr{
		Join: join, New: create, CgroupDir: -1, Program: int(program.Fd()), Argv: []string{"berth", Word, "SOCKET", strconv.Itoa(int(theirData.Fd()))},
		SockArg: 2, Env: []string{"GOMAXPROCS=2"}, Sock: int(theirs.Fd()), Keep: []int{int(theirData.Fd())}, BecomeRoot: true, Undumpable: true,
	})
	if err != nil {
		return err
	}
	v.pid = first
	theirs.Close() // its end is then seen
	err = v.ready(twoStage)
	if v.pid != first {
		reap(first) // it ends once it has said the other one's pid
	}
	if err != nil {
		return err // a second stage that nobody knows ends with the socket
	}
	if create&unix.CLONE_NEWUSER != 0 {
		if err := giveIDs(v.pid, l); err != nil {
			return err
		}
	}
	return control(sock, func(fd int) error { return clone.Go(fd, nil, -1) })
}

// pair makes two ends of a stream socket: ours, which waits in the poller, and theirs.
func pair(name string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// ready waits until the process's namespaces exist and its pid is known, which the
// first stage says: its death may leave the second one waiting, with the socket open.
func (v *Visit) ready(wantPID bool) error {
	first, err := unix.PidfdOpen(v.pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(first)
	_ = v.sock.SetReadDeadline(time.Now().Add(startPatience))
	for ready := false; !ready || wantPID; {
		if wantPID {
			if err := control(v.sock, func(fd int) error { return spoken(fd, first) }); err != nil {
				return fmt.Errorf("start a process: %w", err)
			}
		}
		kind, payload, err := clone.ReadFrame(v.sock, maxFrame)
		if err != nil {
			return fmt.Errorf("start a process: %w", err)
		}
		switch kind {
		case clone.FramePID:
			v.pid, wantPID = int(binary.NativeEndian.Uint32(payload)), false
		case clone.FrameReady:
			ready = true
		default:
			return clone.FailError(payload)
		}
	}
	return nil
}

// spoken waits until there is something to read, or who would write it has ended.
func spoken(sock, first int) error {
	for end := time.Now().Add(startPatience); ; {
		waits := []unix.PollFd{{Fd: int32(sock), Events: unix.POLLIN}, {Fd: int32(first), Events: unix.POLLIN}}
		_, err := unix.Poll(waits, int(max(0, time.Until(end)).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		case waits[0].Revents != 0 || waits[1].Revents == 0: // the read has its own limit
			return nil
		default:
			return fault.New(fault.Unavailable, "it ended before it said its pid")
		}
	}
}

// giveIDs gives a new user namespace the ids of those inside, or ours, as they are.
func giveIDs(pid int, l *Layers) error {
	for _, one := range []struct {
		file string
		maps []specs.LinuxIDMapping
	}{{"gid_map", l.GIDs}, {"uid_map", l.UIDs}} {
		var lines strings.Builder
		for _, m := range one.maps {
			fmt.Fprintf(&lines, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
		}
		if len(one.maps) == 0 {
			text, err := os.ReadFile("/proc/self/" + one.file)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) == 3 {
					fmt.Fprintf(&lines, "%s %s %s\n", f[0], f[0], f[2])
				}
			}
		}
		f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/"+one.file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(lines.String()) // at once, user_namespaces(7)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != unix.EINTR {
			return
		}
	}
}

// greeted waits for the first reply, instead of which there may be a frame that says
// why the program was not executed.
func (v *Visit) greeted() error {
	said := bufio.NewReader(v.sock)
	v.in, v.out = json.NewDecoder(said), json.NewEncoder(v.sock)
	if first, err := said.Peek(1); err == nil && first[0] == clone.FrameFail {
		_, payload, err := clone.ReadFrame(said, maxFrame)
		if err != nil {
			return fmt.Errorf("start a process: %w", err)
		}
		return fmt.Errorf("start a process: %w", clone.FailError(payload))
	}
	_, err := v.answer()
	return err
}

// answer waits for a reply.
func (v *Visit) answer() (*reply, error) {
	var r reply
	if err := v.in.Decode(&r); err != nil {
		return nil, fault.New(fault.Unavailable, "the process that does it has ended: %w", err)
	}
	if r.Fail != nil {
		return nil, r.Fail.err()
	}
	return &r, nil
}

func (v *Visit) ask(o *order) (*reply, error) {
	if err := v.out.Encode(o); err != nil {
		return nil, fault.New(fault.Unavailable, "the process that does it has ended: %w", err)
	}
	return v.answer()
}

// Stat tells of a path. The last component is not followed, unless it ends in "/"
// or "/.". Error: NotFound.
func (v *Visit) Stat(path string) (*Stat, error) {
	r, err := v.ask(&order{Op: opStat, Path: []byte(path)})
	if err != nil {
		return nil, err
	}
	if r.Stat == nil {
		return nil, fault.New(fault.Unavailable, "no answer about %s", path)
	}
	r.Stat.Name, r.Stat.LinkTarget = string(r.Name), string(r.Link)
	return r.Stat, nil
}

// Read gives the first MiB of a regular file.
func (v *Visit) Read(path string) ([]byte, error) {
	r, err := v.ask(&order{Op: opRead, Path: []byte(path)})
	if err != nil {
		return nil, err
	}
	return r.Text, nil
}

// Pack writes what Stat tells of, with all below it, as a tar whose names begin
// with Stat.Name.
func (v *Visit) Pack(path string, w io.Writer) error {
	return v.pack(&order{Op: opPack, Path: []byte(path)}, w)
}

// PackRoot writes all there is, as the tar of a layer: names without a first "/",
// times in whole seconds.
func (v *Visit) PackRoot(w io.Writer) error {
	return v.pack(&order{Op: opPack, Path: []byte("/"), Bare: true}, w)
}

func (v *Visit) pack(o *order, w io.Writer) error {
	if err := v.out.Encode(o); err != nil {
		return fault.New(fault.Unavailable, "the process that does it has ended: %w", err)
	}
	if _, err := io.Copy(w, v.data); err != nil {
		return err
	}
	_, err := v.answer()
	return err
}

// Unpack makes a plain tar's files in the folder path, where all links are followed.
func (v *Visit) Unpack(path string, o *Options, r io.Reader) (*Made, error) {
	if err := v.out.Encode(&order{Op: opUnpack, Path: []byte(path), Options: o, From: []byte(o.From), To: []byte(o.To)}); err != nil {
		return nil, fault.New(fault.Unavailable, "the process that does it has ended: %w", err)
	}
	_, sent := io.Copy(v.data, r)
	if sent != nil && !errors.Is(sent, unix.EPIPE) && !errors.Is(sent, unix.ECONNRESET) {
		return nil, sent // of who gives it: a half file is not to look like a whole one
	}
	v.data.Close()
	a, err := v.answer()
	if err != nil {
		return nil, err
	}
	if sent != nil {
		return nil, sent
	}
	return a.Made, nil
}

// hangUp lets who waits for the process know that it is over.
func (v *Visit) hangUp() {
	if v.sock != nil {
		v.sock.Close()
	}
	if v.data != nil {
		v.data.Close()
	}
}

// Close ends the visit and waits for the end of its process.
func (v *Visit) Close() error {
	v.stop()
	return v.end()
}

func (v *Visit) end() error {
	v.hangUp()
	if v.pid > 0 {
		_ = unix.Kill(v.pid, unix.SIGKILL)
		reap(v.pid)
		v.pid = 0
	}
	return nil
}
