package quota

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of quotactl(2), of project quotas.
const (
	project  = 2 // PRJQUOTA
	getQuota = 0x800007<<8 | project
	setQuota = 0x800008<<8 | project
	getNext  = 0x800009<<8 | project
	getState = ('X'<<8+8)<<8 | project // Q_XGETQSTATV
)

// block is the size in which limits are given (QIF_DQBLKSIZE).
const block = 1024

// dqblk is struct if_nextdqblk; without the id, struct if_dqblk.
type dqblk struct {
	HardBlocks, SoftBlocks, Bytes  uint64
	HardInodes, SoftInodes, Inodes uint64
	BlockTime, InodeTime           uint64
	Valid, ID                      uint32
}

func (q *dqblk) usage() Usage {
	return Usage{Limit: int64(q.HardBlocks) * block, Bytes: int64(q.Bytes), Inodes: int64(q.Inodes)}
}

// Of tells what the kernel knows of a project of the file system that f is on.
func Of(f *os.File, id uint32) (Usage, error) {
	var q dqblk
	err := call(f, getQuota, id, unsafe.Pointer(&q))
	if err == unix.ENOENT { // XFS's word for one that it never saw
		return Usage{}, nil
	}
	return q.usage(), err
}

// next is Of for the first project from id that the kernel knows something of.
func next(f *os.File, id uint32) (Usage, uint32, error) {
	var q dqblk
	err := call(f, getNext, id, unsafe.Pointer(&q))
	return q.usage(), q.ID, err
}

// set limits a project, 0 for no limit.
func set(f *os.File, id uint32, bytes int64) error {
	const limits = 1 // QIF_BLIMITS
	q := dqblk{HardBlocks: uint64(bytes+block-1) / block, Valid: limits}
	q.SoftBlocks = q.HardBlocks
	return call(f, setQuota, id, unsafe.Pointer(&q))
}

// call is quotactl_fd(2). Its error is an errno or nil.
func call(f *os.File, cmd uintptr, id uint32, arg unsafe.Pointer) error {
	_, _, no := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), cmd, uintptr(id), uintptr(arg), 0, 0)
	if no != 0 {
		return no
	}
	return nil
}

// fsxattr is the kernel's struct of the same name.
type fsxattr struct {
	Flags, ExtentSize, Extents, Project, CowExtentSize uint32
	_                                                  [8]byte
}

const (
	getAttr = 0x801c581f // FS_IOC_FSGETXATTR
	setAttr = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit = 0x200      // FS_XFLAG_PROJINHERIT
)

func attributes(f *os.File) (a fsxattr, err error) {
	err = ioctl(f, getAttr, &a)
	return a, err
}

// join puts a file into a project; of a folder, what is made in it is then in it,
// too, if children says so.
func join(f *os.File, id uint32, children bool) error {
	a, err := attributes(f)
	if err != nil {
		return err
	}
	a.Project, a.Flags = id, a.Flags&^inherit
	if info, err := f.Stat(); children && err == nil && info.IsDir() {
		a.Flags |= inherit
	}
	return ioctl(f, setAttr, &a)
}

func ioctl(f *os.File, cmd uintptr, a *fsxattr) error {
	_, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), cmd, uintptr(unsafe.Pointer(a)))
	if no != 0 {
		return no
	}
	return nil
}
