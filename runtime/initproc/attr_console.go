package initproc

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/sys/fdpass"
)

// Console gives the process a terminal of the container's own devpts: it
// becomes the controlling terminal and descriptors 0, 1 and 2. The master's
// side goes to Socket, as one message whose text is ConsoleName and whose
// control data is the descriptor.
//
// Everything is done on descriptors. A link that the image planted at any of
// the names is refused (security class V3), and the slave is opened through
// the master (TIOCGPTPEER, ioctl_tty(2)), never by its name.
type Console struct {
	Socket     FD
	Rows, Cols uint16 // zero leaves the size alone
	// Mount puts the terminal on /dev/console, for the first process.
	Mount bool
}

// ConsoleName is the text beside the master's descriptor.
const ConsoleName = "/dev/pts/ptmx"

const ptmxDevice = 5<<8 | 2

func (s *Console) Name() string { return "set up the terminal" }
func (s *Console) op() op       { return opConsole }
func (s *Console) wire(c *coder) {
	wireFD(c, &s.Socket)
	rows, cols := uint32(s.Rows), uint32(s.Cols)
	c.U32(&rows)
	c.U32(&cols)
	s.Rows, s.Cols = uint16(rows), uint16(cols)
	c.Bool(&s.Mount)
}

func (s *Console) do(p *process) error {
	socket, err := p.fd(s.Socket)
	if err != nil {
		return err
	}
	dev, err := p.openDev()
	if err != nil {
		return fail("open /dev", err)
	}
	defer unix.Close(dev)
	master, err := openMaster(dev)
	if err != nil {
		return fail("open /dev/pts/ptmx", err)
	}
	defer unix.Close(master)
	slave, err := openSlave(master)
	if err != nil {
		return fail("open the terminal's other side", err)
	}
	defer unix.Close(slave)
	if s.Rows != 0 || s.Cols != 0 {
		if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Cols}); err != nil {
			return fail("set its size", err)
		}
	}
	if s.Mount {
		if err := mountConsole(dev, slave); err != nil {
			return fail("mount on /dev/console", err)
		}
	}
	if err := fdpass.Send(socket, []byte(ConsoleName), master); err != nil {
		return fail("send to the console socket", err)
	}
	return attach(slave)
}

// openDev opens /dev of the container's root: before pivot_root by the root's
// descriptor, in a running container by its path.
func (p *process) openDev() (int, error) {
	root := p.root
	if root < 0 {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		root = fd
	}
	resolve := uint64(unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS)
	if !guardConsoleFD {
		resolve = 0
	}
	return openat2(root, "dev", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve,
	})
}

// openMaster opens a new pair of the devpts on pts in dev. What lies there is
// checked before it is opened: opening a device acts on it.
func openMaster(dev int) (int, error) {
	pts, err := openat2(dev, "pts", &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(pts)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pts, &fs); err != nil {
		return -1, err
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return -1, errors.New("a terminal needs a devpts mounted on /dev/pts in the container")
	}
	fd, err := openat2(pts, "ptmx", &unix.OpenHow{
		Flags:   unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return -1, err
	}
	if err := checkTerminal(fd, func(rdev uint64) bool { return rdev == ptmxDevice }); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openSlave(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, fail("unlock it", err)
	}
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return -1, e
	}
	if err := checkTerminal(int(r), isSlave); err != nil {
		unix.Close(int(r))
		return -1, err
	}
	return int(r), nil
}

// isSlave knows the majors of pseudo-terminal slaves, see the kernel's
// admin-guide/devices.txt.
func isSlave(rdev uint64) bool {
	major := unix.Major(rdev)
	return major >= 136 && major <= 143
}

func checkTerminal(fd int, want func(rdev uint64) bool) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC || st.Mode&unix.S_IFMT != unix.S_IFCHR || !want(st.Rdev) {
		return errors.New("it is not a pseudo-terminal (device " +
			strconv.Itoa(int(unix.Major(st.Rdev))) + ":" + strconv.Itoa(int(unix.Minor(st.Rdev))) + ")")
	}
	return nil
}

// mountConsole binds the slave over dev/console, which is made if missing.
func mountConsole(dev, slave int) error {
	// Not O_NOFOLLOW: with O_PATH that opens the link itself, see openat2(2).
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	if !guardConsoleFD {
		how = unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	}
	target, err := openat2(dev, "console", &how)
	if err == unix.ENOENT {
		var made int
		made, err = unix.Openat(dev, "console", unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
		if err == nil {
			unix.Close(made)
			target, err = openat2(dev, "console", &how)
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	tree, err := unix.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// attach makes slave the controlling terminal and the standard streams.
func attach(slave int) error {
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return fail("make it the controlling terminal", err)
	}
	for fd := 0; fd < 3; fd++ {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return fail("make it descriptor "+strconv.Itoa(fd), err)
		}
	}
	return nil
}
