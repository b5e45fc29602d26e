package unpack

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/confine"
	"berth/sys/fdpass"
	"berth/sys/mount"
)

// controlFD is where a worker finds its socket.
const controlFD = 3

// workerMemory is where the worker's garbage collector begins to hurry.
const workerMemory = 64 << 20

// WorkerMain is the whole life of a worker process; see WorkerWord. It returns
// the exit status. It does nothing but fail where Start has not called it.
func WorkerMain(args []string) int {
	if len(args) != 1 || args[0] != readerRole && args[0] != makerRole || !isSocket(controlFD) {
		os.Stderr.WriteString("berth: " + WorkerWord + " is berth's own affair\n")
		return 1
	}
	unix.CloseOnExec(controlFD)
	debug.SetMemoryLimit(workerMemory)
	debug.SetGCPercent(200)
	unix.Umask(0)
	// It waits in the call, in a thread of its own: there is no poller's wakeup
	// between the end of the caller and the end of the worker.
	if err := unix.SetNonblock(controlFD, false); err != nil {
		return 1
	}
	control := os.NewFile(controlFD, "control")
	defer control.Close()
	confined, serve := confineReader, serveReader
	if args[0] == makerRole {
		confined, serve = confineMaker, serveMaker
	}
	if err := confined(); err != nil {
		_ = write(control, &reply{Fail: toWire(err)})
		return 1
	}
	if err := write(control, &reply{}); err != nil {
		return 1
	}
	for {
		text, fds, err := fdpass.Receive(controlFD, 4)
		if err != nil {
			return 0 // the caller closed it, or is no more
		}
		var o order
		if err := json.Unmarshal(text, &o); err != nil {
			return 1
		}
		go serve(&o, [4]int(fds))
	}
}

func isSocket(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// confineMaker gives up all that making files does not need. Landlock comes with
// each layer, thread by thread: a rule for all of them would forbid hard links
// between the folders of layers yet to come.
func confineMaker() error { return confineSelf(confine.FileCaps) }

// confineReader gives up all files, too: it has a stream to read and one to write.
func confineReader() error {
	if err := confineSelf(0); err != nil || confine.Supported() == 0 {
		return err
	}
	if _, err := confine.Restrict(confine.AllThreads, &confine.Files{}); err != nil {
		return fmt.Errorf("confine with Landlock: %w", err)
	}
	return nil
}

// confineSelf gives up all but caps. The process has read no foreign byte yet.
func confineSelf(caps uint32) error {
	if err := emptyRoot(); err != nil {
		return err
	}
	return confine.Worker(caps)
}

// emptyRoot makes an empty, read-only file system the root of the worker's own
// mount namespace, and leaves the host's behind.
func emptyRoot() error {
	if !guardEmptyRoot {
		return nil
	}
	if err := mount.SetPropagation("/", unix.MS_PRIVATE); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	const attr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	tree, err := mount.New("tmpfs", "berth", []mount.Param{{Key: "size", Value: "4k"}, {Key: "nr_inodes", Value: "4"}, {Key: "mode", Value: "0"}}, attr)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return mount.BecomeRoot(tree)
}

// serveReader decompresses one stream.
func serveReader(o *order, fds [4]int) {
	peer := newPeer(fds[3])
	defer peer.sock.Close()
	in := waitable(fds[0], "source")
	defer in.Close()
	to, err := openRing(fds[1], fds[2], true)
	if err == nil {
		// Close must reach who waits for the one or the other.
		go peer.listen(func() { in.Close(); to.sock.Close() })
		err = expand(in, &ringWriter{ringEnd: to}, o.Compression, &o.Limits)
		in.Close()
		to.sock.Close() // before the verdict: the caller reads to the end first
		to.unmap()
	}
	peer.tell(nil, err)
}

// waitable makes a file whose Close reaches a Read or Write that waits.
func waitable(fd int, name string) *os.File {
	_ = unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), name)
}

// serveMaker unpacks one layer, in a thread that ends with it.
func serveMaker(o *order, fds [4]int) {
	runtime.LockOSThread() // and never unlocked: Landlock stays with the thread
	peer := newPeer(fds[3])
	defer peer.sock.Close()
	peer.tell(unpack(o, fds[0], fds[1], fds[2], peer))
}

// unpack takes the descriptors over and closes them: when the caller hears of
// the end, the process has nothing of the layer any more.
func unpack(o *order, dir, mem, sock int, p *peer) (*Result, error) {
	defer unix.Close(dir)
	in, err := openRing(mem, sock, false)
	if err != nil {
		return nil, err
	}
	defer in.unmap()
	defer in.sock.Close()
	if err := bindTo(dir); err != nil {
		return nil, err
	}
	go p.listen(func() { in.sock.Close() })
	return extract(o, dir, &ringReader{ringEnd: in}, p)
}

// bindTo leaves the calling thread the files below dir, none at all with -1.
func bindTo(dir int) error {
	if !guardLandlock || confine.Supported() < 2 { // the first ABI would forbid links between folders
		return nil
	}
	var f confine.Files
	if dir >= 0 {
		f.Paths = []confine.Path{{Dir: dir, Access: confine.Read | confine.Write | confine.Make | confine.Nodes}}
	}
	if _, err := confine.Restrict(confine.ThisThread, &f); err != nil {
		return fmt.Errorf("confine a thread with Landlock: %w", err)
	}
	return nil
}

// extract runs the extractor on a plain stream.
func extract(o *order, dir int, in io.Reader, p *peer) (res *Result, err error) {
	defer func() {
		if v := recover(); v != nil { // the parser reads foreign bytes
			res, err = nil, fault.New(fault.Invalid, "unpack: %v", v)
		}
	}()
	x := newExtractor(dir, o, p.ask)
	defer x.forgetOpen()
	defer x.small.close()
	if err := x.run(in); err != nil {
		return nil, err
	}
	if err := x.small.settle(); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what pads a tar
		return nil, err
	}
	if err := x.finish(); err != nil {
		return nil, err
	}
	return &Result{Size: x.size + x.small.size, Inodes: x.inodes, Entries: x.entries, SkippedDevices: x.skipped, DroppedXattrs: x.dropped + x.small.dropped}, nil
}

// peer is the caller's process, seen from a layer.
type peer struct {
	sock    *os.File
	replies chan *reply
}

func newPeer(sock int) *peer {
	return &peer{sock: os.NewFile(uintptr(sock), "layer"), replies: make(chan *reply)}
}

// tell says how it ended.
func (p *peer) tell(res *Result, err error) {
	final := request{Op: opDone, Result: res}
	if err != nil {
		final = request{Op: opFail, Fail: toWire(err)}
	}
	_ = write(p.sock, &final)
}

// listen takes replies until the caller's end closes, and then calls stop.
func (p *peer) listen(stop func()) {
	defer close(p.replies)
	buf := make([]byte, maxMessage)
	for {
		r := new(reply)
		if err := read(p.sock, buf, r); err != nil {
			stop()
			return
		}
		p.replies <- r
	}
}

// ask puts one request and waits for its reply.
func (p *peer) ask(q request, out *reply) error {
	if err := write(p.sock, &q); err != nil {
		return err
	}
	r, ok := <-p.replies
	if !ok {
		return io.ErrUnexpectedEOF
	}
	if r.Fail != nil {
		return r.Fail.err()
	}
	if out != nil {
		*out = *r
	}
	return nil
}
