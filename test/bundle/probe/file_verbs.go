package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errArgs is the answer to a verb used wrongly.
var errArgs = errors.New("wrong number of arguments")

// arg is the i-th argument or the given default.
func arg(args []string, i int, missing string) string {
	if i < len(args) {
		return args[i]
	}
	return missing
}

// openFlags are the letters that try-open knows.
var openFlags = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR,
	"create": unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, "append": unix.O_WRONLY | unix.O_APPEND,
	"path": unix.O_PATH, "dir": unix.O_DIRECTORY, "tmpfile": unix.O_TMPFILE | unix.O_WRONLY,
}

// addFileVerbs adds what is about paths:
//
//	try-open PATH [r|w|rw|create|append|path|dir|tmpfile]
//	read PATH [BYTES]        the content, 64 KiB at most by default
//	write PATH TEXT          no O_CREAT; `create PATH TEXT` makes it
//	stat PATH                mode uid:gid major:minor size, links not followed
//	list PATH                names, sorted
//	readlink PATH
//	mkdir PATH · remove PATH · chown PATH UID GID · chmod PATH OCTAL
//	mknod PATH c|b MAJOR MINOR
//	mount SOURCE TARGET TYPE [FLAGS] · umount TARGET
//	times PATH               does reading move the access time: "moves" or "stays"
//	propagation PATH         of the mount on PATH: "private", "shared", "master"…
func addFileVerbs() {
	verbs["try-open"] = tryOpen
	verbs["read"] = readFile
	verbs["write"] = func(a []string) (string, error) { return writeFile(a, unix.O_WRONLY) }
	verbs["create"] = func(a []string) (string, error) { return writeFile(a, unix.O_WRONLY|unix.O_CREAT) }
	verbs["stat"] = stat
	verbs["list"] = list
	verbs["readlink"] = func(a []string) (string, error) { return os.Readlink(arg(a, 0, "")) }
	verbs["mkdir"] = func(a []string) (string, error) { return "ok", os.Mkdir(arg(a, 0, ""), 0o755) }
	verbs["remove"] = func(a []string) (string, error) { return "ok", os.Remove(arg(a, 0, "")) }
	verbs["chown"] = func(a []string) (string, error) {
		return "ok", os.Lchown(arg(a, 0, ""), number(arg(a, 1, "0")), number(arg(a, 2, "0")))
	}
	verbs["chmod"] = func(a []string) (string, error) {
		mode, err := strconv.ParseUint(arg(a, 1, ""), 8, 32)
		if err != nil {
			return "", err
		}
		return "ok", unix.Chmod(arg(a, 0, ""), uint32(mode))
	}
	verbs["mknod"] = mknod
	verbs["mount"] = func(a []string) (string, error) {
		flags, _ := strconv.ParseUint(arg(a, 3, "0"), 0, 64)
		return "ok", unix.Mount(arg(a, 0, ""), arg(a, 1, ""), arg(a, 2, ""), uintptr(flags), arg(a, 4, ""))
	}
	verbs["umount"] = func(a []string) (string, error) { return "ok", unix.Unmount(arg(a, 0, ""), unix.MNT_DETACH) }
	verbs["times"] = accessTime
	verbs["propagation"] = propagation
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

func tryOpen(a []string) (string, error) {
	flags, ok := openFlags[arg(a, 1, "r")]
	if !ok {
		return "", fmt.Errorf("unknown flag %q", a[1])
	}
	fd, err := unix.Open(arg(a, 0, ""), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return "", err
	}
	return "ok", unix.Close(fd)
}

func readFile(a []string) (string, error) {
	f, err := os.Open(arg(a, 0, ""))
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(number(arg(a, 1, "65536")))))
	return strings.TrimRight(string(data), "\n"), err
}

func writeFile(a []string, flags int) (string, error) {
	fd, err := unix.Open(arg(a, 0, ""), flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(arg(a, 1, "")))
	return "ok", err
}

func stat(a []string) (string, error) {
	path := arg(a, 0, "")
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	n := inode(path, info)
	size := strconv.FormatInt(info.Size(), 10)
	if info.IsDir() {
		size = "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d:%d %s %s%s", n.Mode, n.UID, n.GID, size, n.Device, n.Link)), nil
}

func list(a []string) (string, error) {
	entries, err := os.ReadDir(arg(a, 0, ""))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return strings.Join(names, " "), err
}

func mknod(a []string) (string, error) {
	if len(a) != 4 {
		return "", errArgs
	}
	kind := uint32(unix.S_IFCHR)
	if a[1] == "b" {
		kind = unix.S_IFBLK
	}
	dev := unix.Mkdev(uint32(number(a[2])), uint32(number(a[3])))
	return "ok", unix.Mknod(a[0], kind|0o666, int(dev))
}

// propagation is what mountinfo says of the last mount on a path.
func propagation(a []string) (string, error) {
	all, err := mounts()
	said := "no mount"
	for _, m := range all {
		if m.Target == arg(a, 0, "/") {
			said = "private"
			for i, p := range m.Propagation {
				word, _, _ := strings.Cut(p, ":")
				if i == 0 {
					said = word
				} else {
					said += " " + word
				}
			}
		}
	}
	return said, err
}

// accessTime reads the file and tells whether its access time moved: the
// visible half of noatime and its sisters.
func accessTime(a []string) (string, error) {
	path := arg(a, 0, "")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	before := st.Atim
	if _, err := readFile([]string{path}); err != nil {
		return "", err
	}
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Atim != before {
		return "moves", nil
	}
	return "stays", nil
}
