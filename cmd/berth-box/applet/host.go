package applet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ps lists processes as /proc tells them; ps's many flags are taken and change
// nothing.
func ps([]string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	fmt.Println("  PID USER     STAT COMMAND")
	var pids []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		st, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		text := string(st)
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		if open < 0 || end < open || end+2 >= len(text) {
			continue
		}
		command := "[" + text[open+1:end] + "]"
		if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
			command = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
		user := "?"
		if fi, err := os.Stat(dir); err == nil {
			uid := int(fi.Sys().(*syscall.Stat_t).Uid)
			if user = nameOf("/etc/passwd", uid); user == "" {
				user = strconv.Itoa(uid)
			}
		}
		fmt.Printf("%5d %-8s %-4c %s\n", pid, user, text[end+2], command)
	}
	return nil
}

func free(args []string) error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	divide := int64(1)
	if slices.Contains(args, "-m") {
		divide = 1024
	} else if slices.Contains(args, "-g") {
		divide = 1 << 20
	}
	kb := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			kb[strings.TrimSuffix(f[0], ":")] = n / divide
		}
	}
	cache := kb["Buffers"] + kb["Cached"] + kb["SReclaimable"]
	fmt.Printf("%-7s%12s%12s%12s%12s%12s%12s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Printf("%-7s%12d%12d%12d%12d%12d%12d\n", "Mem:", kb["MemTotal"], kb["MemTotal"]-kb["MemAvailable"], kb["MemFree"], kb["Shmem"], cache, kb["MemAvailable"])
	fmt.Printf("%-7s%12d%12d%12d\n", "Swap:", kb["SwapTotal"], kb["SwapTotal"]-kb["SwapFree"], kb["SwapFree"])
	return nil
}

func df(args []string) error {
	f := newFlags("df")
	human := f.Bool("h", false, "with units")
	f.Bool("k", true, "in KiB")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	mounts, err := mountLines()
	if err != nil {
		return err
	}
	fmt.Printf("%-20s %10s %10s %10s %4s %s\n", "Filesystem", map[bool]string{true: "Size", false: "1K-blocks"}[*human], "Used", "Available", "Use%", "Mounted on")
	show := func(source, at string) error {
		var s unix.Statfs_t
		if err := unix.Statfs(at, &s); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if s.Blocks == 0 && len(names) == 0 {
			return nil
		}
		total, used, avail := int64(s.Blocks)*s.Bsize, int64(s.Blocks-s.Bfree)*s.Bsize, int64(s.Bavail)*s.Bsize
		percent := "-"
		if used+avail > 0 {
			percent = strconv.FormatInt((used*100+used+avail-1)/(used+avail), 10) + "%"
		}
		fmt.Printf("%-20s %10s %10s %10s %4s %s\n", source, kib(total, *human), kib(used, *human), kib(avail, *human), percent, at)
		return nil
	}
	if len(names) > 0 {
		for _, n := range names {
			if err := show("-", n); err != nil {
				return err
			}
		}
		return nil
	}
	for _, m := range mounts {
		_ = show(m[0], m[1])
	}
	return nil
}

func mountLines() ([][]string, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	var out [][]string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 {
			out = append(out, f)
		}
	}
	return out, err
}

func mount(args []string) error {
	f := newFlags("mount")
	kind, options := f.String("t", "", "file system"), f.String("o", "", "options")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		mounts, err := mountLines()
		for _, m := range mounts {
			fmt.Printf("%s on %s type %s (%s)\n", m[0], m[1], m[2], m[3])
		}
		return err
	}
	if len(names) != 2 {
		return errors.New("takes SOURCE PLACE")
	}
	var flags uintptr
	var data []string
	for _, o := range strings.Split(*options, ",") {
		switch o {
		case "", "rw", "defaults":
		case "ro":
			flags |= unix.MS_RDONLY
		case "bind":
			flags |= unix.MS_BIND
		case "rbind":
			flags |= unix.MS_BIND | unix.MS_REC
		case "remount":
			flags |= unix.MS_REMOUNT
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		default:
			data = append(data, o)
		}
	}
	if err := unix.Mount(names[0], names[1], *kind, flags, strings.Join(data, ",")); err != nil {
		return fmt.Errorf("%s on %s: %w", names[0], names[1], err)
	}
	return nil
}

func umount(args []string) error {
	f := newFlags("umount")
	lazy, force := f.Bool("l", false, "when it is no longer used"), f.Bool("f", false, "by force")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	flags := 0
	if *lazy {
		flags |= unix.MNT_DETACH
	}
	if *force {
		flags |= unix.MNT_FORCE
	}
	for _, n := range names {
		if err := unix.Unmount(n, flags); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}
