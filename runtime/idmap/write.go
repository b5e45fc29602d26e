package idmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// maxMapBytes: a map is one write of less than a page.
const maxMapBytes = 4095

// Write writes the maps of process pid, which waits in a new user namespace.
// Root writes them itself. An ordinary user may map only its own id, which
// gives up setgroups(2) in the namespace; other ids go through newuidmap and
// newgidmap, which check them against /etc/subuid and /etc/subgid.
func (m *Maps) Write(pid int) error {
	if os.Geteuid() == 0 {
		if err := writeMap(pid, "uid_map", m.UID); err != nil {
			return err
		}
		return writeMap(pid, "gid_map", m.GID)
	}
	if own(m.GID, os.Getegid()) {
		// Without it the kernel refuses the map: user_namespaces(7).
		if err := writeFile(pid, "setgroups", []byte("deny")); err != nil {
			return err
		}
		if err := writeMap(pid, "gid_map", m.GID); err != nil {
			return err
		}
	} else if err := runMapper("newgidmap", "/etc/subgid", pid, m.GID); err != nil {
		return err
	}
	if own(m.UID, os.Geteuid()) {
		return writeMap(pid, "uid_map", m.UID)
	}
	return runMapper("newuidmap", "/etc/subuid", pid, m.UID)
}

// own reports whether list maps nothing but the caller's id.
func own(list []specs.LinuxIDMapping, id int) bool {
	return len(list) == 1 && list[0].Size == 1 && int64(list[0].HostID) == int64(id)
}

func writeMap(pid int, name string, list []specs.LinuxIDMapping) error {
	return writeFile(pid, name, Format(list))
}

// Format gives a map the form of uid_map, see user_namespaces(7).
func Format(list []specs.LinuxIDMapping) []byte {
	var b []byte
	for _, m := range list {
		b = strconv.AppendUint(b, uint64(m.ContainerID), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(m.HostID), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(m.Size), 10)
		b = append(b, '\n')
	}
	return b
}

func writeFile(pid int, name string, text []byte) error {
	path := "/proc/" + strconv.Itoa(pid) + "/" + name
	if len(text) > maxMapBytes {
		return fault.New(fault.Invalid, "write %s: the map is %d bytes long, the kernel takes %d", path, len(text), maxMapBytes)
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if n, err := unix.Write(fd, text); err != nil || n != len(text) {
		if err == nil {
			err = unix.EIO
		}
		return fmt.Errorf("write id map %q to %s: %w", brief(text), path, err)
	}
	return nil
}

func brief(text []byte) string {
	s := strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", ")
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return s
}

// mapperDirs is where newuidmap may lie: its file capabilities or setuid bit
// are what we need, so no search path of the caller's decides.
var mapperDirs = [...]string{"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/run/wrappers/bin"}

// mapperTime is far above what newuidmap takes, even with a slow name service.
const mapperTime = 30 * time.Second

// runMapper runs newuidmap(1) or newgidmap(1) with a clean environment.
func runMapper(name, table string, pid int, list []specs.LinuxIDMapping) error {
	program := ""
	for _, dir := range mapperDirs {
		if st, err := os.Stat(dir + "/" + name); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			program = dir + "/" + name
			break
		}
	}
	if program == "" {
		return fault.New(fault.Unsupported, "%s is missing, which maps more than the own id of an ordinary user: install the package uidmap (Debian), shadow-utils or shadow-uidmap", name)
	}
	args := []string{strconv.Itoa(pid)}
	for _, m := range list {
		args = append(args, strconv.FormatUint(uint64(m.ContainerID), 10),
			strconv.FormatUint(uint64(m.HostID), 10), strconv.FormatUint(uint64(m.Size), 10))
	}
	ctx, cancel := context.WithTimeout(context.Background(), mapperTime)
	defer cancel()
	//house:allow call newuidmap and newgidmap, by absolute path with an empty environment
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	var out cappedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return unmapped(program, table, args, out.String(), err)
	}
	return nil
}

// unmapped is why a mapper did not do it: it refused, kind Permission, or it could not
// end by itself, kind Unavailable, which says nothing about what the user may do.
func unmapped(program, table string, args []string, said string, err error) error {
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		return fmt.Errorf("map ids with %s: %w", program, err)
	case !exit.Exited():
		return fault.New(fault.Unavailable, "map ids with %s: %v", program, err)
	}
	text := strings.TrimSpace(strings.ReplaceAll(said, "\n", "; "))
	return fault.New(fault.Permission, "map ids with %s %s: %v: %s (the ranges must be the user's in %s)", program, strings.Join(clipArgs(args), " "), err, text, table)
}

func clipArgs(args []string) []string {
	if len(args) > 13 {
		return append(args[:13:13], "…")
	}
	return args
}

// cappedBuffer keeps the first bytes of what is written and drops the rest.
type cappedBuffer struct{ bytes.Buffer }

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if room := 2048 - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
