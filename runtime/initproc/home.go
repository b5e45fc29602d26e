package initproc

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Home finds the home directory of a user for a process whose environment has
// no HOME, as runc does: the sixth field of the container's /etc/passwd
// (passwd(5)), "/" if that cannot be read or does not know the user. It never
// fails: a container need not have the file.
type Home struct{ UID uint32 }

func (s *Home) Name() string  { return "find the home directory" }
func (s *Home) op() op        { return opHome }
func (s *Home) wire(c *coder) { c.U32(&s.UID) }

func (s *Home) do(p *process) error {
	if p.account != nil {
		p.home = p.account.Home
		return nil
	}
	p.home = homeOf(readPasswd("/etc/passwd"), s.UID)
	return nil
}

// maxPasswd bounds what is read; later users have "/" as their home.
const maxPasswd = 1 << 20

// readPasswd reads a regular file of the container; anything else could block.
func readPasswd(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	var out []byte
	var b [4096]byte
	for len(out) < maxPasswd {
		n, err := unix.Read(fd, b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		out = append(out, b[:n]...)
	}
	return out
}

// homeOf returns the home directory of the first line with uid.
func homeOf(passwd []byte, uid uint32) string {
	for rest := string(passwd); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		var field [6]string
		tail := line
		for i := range field {
			field[i], tail, _ = strings.Cut(tail, ":")
		}
		n, err := strconv.ParseUint(field[2], 10, 32)
		if err != nil || uint32(n) != uid {
			continue
		}
		if home := field[5]; home != "" && strings.IndexByte(home, 0) < 0 {
			return home
		}
		break
	}
	return "/"
}
