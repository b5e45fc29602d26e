// Package hold is the holder, the helper's word "hold": a process that lives so that a
// user's namespaces do, and ends with the way out of the network, when nobody has been
// in them for a while. Row 4, and the second door of room rootless for the helper.
package hold

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/detach"
)

// Home names, in the environment, the folder with the files below.
const Home = "BERTH_HOLD"

// Program is the way out of a user's network.
const Program = "berth-uplink"

// The files of a home; package rootless tells of them.
const (
	Noted       = "holder"
	Making      = "holder.lock"
	Users       = "users.lock" // modified when a command ends
	Uplink      = "uplink"
	UplinkKept  = "uplink.lock"
	longestNote = 512
)

// Linger is how long the namespaces stay when nobody is inside: for the next command of a
// script, which finds bridge, firewall and way out as the one before left them.
const Linger = time.Second

// again is how long to wait where somebody was at it.
const again = 100 * time.Millisecond

// Main leaves all that was its starter's, closes the socket to say so, and sleeps until
// nobody is inside any more. Whoever ends it before sends SIGKILL. It returns the exit
// code.
func Main(sock int) int {
	home := os.Getenv(Home)
	if detach.From(sock) != nil {
		return 1
	}
	unix.Close(sock)
	if home == "" {
		return 1
	}
	for {
		free(home + "/" + Users) // no command is inside: this waits
		time.Sleep(Linger)
		switch ended, inside := end(home); {
		case ended:
			return 0
		case inside > 0:
			wait(inside)
		default:
			time.Sleep(again)
		}
	}
}

// end takes the namespaces down if nobody is in them: no command, and no process but the
// way out. Else it names a process that is, 0 for a command.
func end(home string) (ended bool, inside int) {
	if unix.Access(home, unix.F_OK) == unix.ENOENT {
		return over(home) // somebody removed the folder: no command finds the way here any more
	}
	making := lock(home+"/"+Making, unix.LOCK_EX|unix.LOCK_NB)
	if making < 0 {
		return false, 0
	}
	defer unix.Close(making)
	users := lock(home+"/"+Users, unix.LOCK_EX|unix.LOCK_NB)
	if users < 0 {
		return false, 0
	}
	defer unix.Close(users)
	var st unix.Stat_t
	if unix.Fstat(users, &st) == nil {
		if age := time.Since(time.Unix(st.Mtim.Unix())); age >= 0 && age < Linger {
			return false, 0 // the last command ended just now
		}
	}
	if noted(home+"/"+Noted) != os.Getpid() {
		return true, 0 // another has taken over
	}
	return over(home)
}

// over ends what is left, if nobody is inside.
func over(home string) (ended bool, inside int) {
	pid, out := others()
	if pid > 0 {
		return false, pid
	}
	for _, pid := range out {
		if unix.Kill(pid, unix.SIGKILL) == nil {
			free(home + "/" + UplinkKept) // until it has ended
		}
	}
	_ = unix.Unlink(home + "/" + Uplink)
	_ = unix.Unlink(home + "/" + Noted)
	return true, 0
}

// lock opens and locks a file, -1 if that cannot be.
func lock(path string, how int) int {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	for {
		err := unix.Flock(fd, how)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return -1
		}
		return fd
	}
}

// free waits until a lock is had, and gives it back.
func free(path string) {
	if fd := lock(path, unix.LOCK_EX); fd >= 0 {
		unix.Close(fd)
	}
}

// noted reads the pid of a file's process, 0 without one.
func noted(path string) int {
	first, _, _ := strings.Cut(read(path), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return pid
}

func read(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [longestNote]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// alive reports whether a process has not ended, by the third word of /proc/PID/stat.
func alive(pid string) bool {
	s := read("/proc/" + pid + "/stat")
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

// others is a process in this one's user namespace besides itself, 0 for none, and what
// are ways out by their names: who started one may have been killed before he noted it. A
// container's process of that name has a monitor. A dead process that nobody has asked for
// is none.
func others() (inside int, out []int) {
	own := link("/proc/self/ns/user")
	dir, err := os.Open("/proc")
	if err != nil || own == "" {
		return os.Getppid(), nil // nothing can be said: as if somebody were
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			switch {
			case err != nil || pid == os.Getpid() || link("/proc/"+name+"/ns/user") != own || !alive(name):
			case read("/proc/"+name+"/comm") == Program+"\n":
				out = append(out, pid)
			default:
				return pid, nil
			}
		}
		if err != nil {
			return 0, out
		}
	}
}

func link(path string) string {
	var b [64]byte
	n, err := unix.Readlink(path, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// wait waits for the end of a process.
func wait(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		time.Sleep(again)
		return
	}
	defer unix.Close(fd)
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return
		}
	}
}
